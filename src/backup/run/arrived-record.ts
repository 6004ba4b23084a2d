import { MutationOffset } from '../../../protocol/dcp/mutation.ts'
import type { ArrivedChange } from '../../client/index.ts'
import { RecordKind, type RecordForm } from '../archive/record.ts'

/**
 * The record of a change that has arrived: goes from its frame straight into a block. Filled in again
 * for each, like the change.
 */
export class ArrivedRecord implements RecordForm {
  kind: RecordKind = RecordKind.mutation
  seqno = 0
  casHigh = 0
  casLow = 0
  revnoHigh = 0
  revnoLow = 0
  flags = 0
  time = 0
  datatype = 0
  collectionId = 0
  keyLength = 0
  valueLength = 0
  #change!: ArrivedChange
  /** What the last frame lay in, and what the document went to; how far the one is ahead of the other. */
  #bytes: Buffer | undefined
  #target: Buffer | undefined
  #ahead: number | undefined

  /** Until the next call, and no longer than the change is valid. */
  of(change: ArrivedChange): this {
    const { frame, type } = change
    this.#change = change
    this.kind = RecordKind[type]
    this.seqno = change.seqno
    this.casHigh = frame.casHigh
    this.casLow = frame.casLow
    this.revnoHigh = frame.extrasUint32(MutationOffset.revno)
    this.revnoLow = frame.extrasUint32(MutationOffset.revno + 4)
    this.flags = change.flags
    this.time = type === 'mutation' ? change.expiry : (change.deleteTime ?? 0)
    this.datatype = frame.datatype
    this.collectionId = change.collectionId
    this.keyLength = change.keyLength
    this.valueLength = frame.valueLength
    return this
  }

  /** The value stands behind the key, in the frame as in the record. */
  copyDocument(target: Buffer, at: number): void {
    const { frame, keyStart } = this.#change
    const { bytes } = frame
    const end = keyStart + this.keyLength + this.valueLength
    if (bytes !== this.#bytes || target !== this.#target) this.#between(bytes, target)
    const ahead = this.#ahead
    if (ahead === undefined) bytes.copy(target, at, keyStart, end)
    else target.copyWithin(at, ahead + keyStart, ahead + end)
  }

  /** To ask for it takes as long as to copy a document. */
  #between(bytes: Buffer, target: Buffer): void {
    this.#bytes = bytes
    this.#target = target
    this.#ahead = bytes.buffer === target.buffer ? bytes.byteOffset - target.byteOffset : undefined
  }
}
