import { defaultPrefixLength } from '../storage/record-key.ts'
import type { RecordView } from '../storage/record.ts'
import type { Session } from './session.ts'

/** Bytes at the beginning of a stored key that a client does not see: see document-key.ts. */
export function hiddenKeyBytes(session: Session): number {
  return session.features.collections ? 0 : defaultPrefixLength
}

/** A key as the client sees it. */
export function shownKey(session: Session, record: RecordView): Buffer {
  return record.key().subarray(hiddenKeyBytes(session))
}
