import { writeSeqno, writeUint16, writeUint32 } from '../../../protocol/bytes.ts'
import { MutationOffset } from '../../../protocol/dcp/mutation.ts'
import type { ArrivedChange } from '../../client/index.ts'
import {
  collectionIdOffset,
  recordHeaderLength,
  RecordKind,
  type RecordForm,
} from '../archive/record.ts'

/**
 * The record of a change that has arrived: written from its frame straight into a block. Filled in
 * again for each, like the change.
 */
export class ArrivedRecord implements RecordForm {
  kind: RecordKind = RecordKind.mutation
  seqno = 0
  documentBytes = 0
  #change!: ArrivedChange

  /** Until the next call, and no longer than the change is valid. */
  of(change: ArrivedChange): this {
    this.#change = change
    this.kind = RecordKind[change.type]
    this.seqno = change.seqno
    this.documentBytes = change.keyLength + change.frame.valueLength
    return this
  }

  encode(target: Buffer, at: number): number {
    const { frame, keyStart, keyLength, collectionId, flags, expiry, deleteTime } = this.#change
    writeUint32(target, at + 4, frame.valueLength)
    writeSeqno(target, at + 8, this.seqno)
    writeUint32(target, at + 16, frame.casHigh)
    writeUint32(target, at + 20, frame.casLow)
    writeUint32(target, at + 24, frame.extrasUint32(MutationOffset.revno))
    writeUint32(target, at + 28, frame.extrasUint32(MutationOffset.revno + 4))
    writeUint32(target, at + 32, flags)
    writeUint32(target, at + 36, this.kind === RecordKind.mutation ? expiry : (deleteTime ?? 0))
    target[at + 40] = this.kind
    target[at + 41] = frame.datatype
    writeUint16(target, at + 42, keyLength)
    writeUint32(target, at + collectionIdOffset, collectionId)
    // The value stands behind the key, here as there.
    const start = at + recordHeaderLength
    frame.bytes.copy(target, start, keyStart, keyStart + this.documentBytes)
    return start + this.documentBytes
  }
}
