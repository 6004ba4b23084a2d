export type StoreMode = 'set' | 'add' | 'replace'

/** A write as a client asks for it; one object is filled again and again. */
export class StoreRequest {
  key: Buffer = Buffer.alloc(0)
  keyStart = 0
  keyLength = 0
  value: Buffer = Buffer.alloc(0)
  valueStart = 0
  valueLength = 0
  flags = 0
  /** As in the protocol: relative up to 30 days. */
  expiry = 0
  datatype = 0
  /** 0: whatever is there. */
  casHigh = 0
  casLow = 0
  mode: StoreMode = 'set'
  /** Keep the expiry that the document has. */
  preserveExpiry = false
}
