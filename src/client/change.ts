import { uint64From } from '../../protocol/bytes.ts'
import {
  deletionV1ExtrasLength,
  deletionV2ExtrasLength,
  DeletionOffset,
} from '../../protocol/dcp/deletion.ts'
import { expirationExtrasLength, ExpirationOffset } from '../../protocol/dcp/expiration.ts'
import { mutationExtrasLength, MutationOffset } from '../../protocol/dcp/mutation.ts'
import type { StreamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import type { Frame } from '../../protocol/frame.ts'
import { leb128At, leb128Length } from '../../protocol/leb128.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { CollectionNames } from './collection-names.ts'
import { defaultCollection, defaultCollectionPath } from './collection-path.ts'
import type { CollectionEvent, ScopeEvent } from './system-event.ts'

/**
 * One change of one document, yours to keep: key and value are copies. The client reads all its
 * bytes into one buffer that the next read overwrites, and a change may wait long before it is
 * taken; so it is copied once, when it arrives, into memory just its size.
 */
export interface Change {
  readonly type: 'mutation' | 'deletion' | 'expiration'
  readonly vbid: number
  readonly seqno: number
  /** How many times the document has changed. */
  readonly revno: number
  readonly cas: bigint
  /** The application's own 32 bits; 0 unless a mutation. */
  readonly flags: number
  /** When the document will expire, seconds since the epoch; 0: never, or no mutation. */
  readonly expiry: number
  readonly datatype: number
  readonly collectionId: number
  /** As `scope.collection`; `undefined` if nobody told the name, as may be of one long dropped. */
  readonly collection: string | undefined
  readonly key: Buffer
  /** Empty for deletions and expirations, unless extended attributes outlive the document. */
  readonly value: Buffer
  /** When it was deleted, seconds since the epoch, if the server tells. */
  readonly deleteTime: number | undefined
}

/** What follows, up to `endSeqno`, is consistent only as a whole. */
export interface SnapshotMarkerEvent {
  readonly type: 'snapshot-marker'
  readonly vbid: number
  readonly startSeqno: number
  readonly endSeqno: number
  /** Bits of `MarkerFlag`. */
  readonly flags: number
}

/** The vbucket went on to `seqno` with changes that this stream does not carry. */
export interface SeqnoAdvancedEvent {
  readonly type: 'seqno-advanced'
  readonly vbid: number
  readonly seqno: number
}

export interface StreamEndEvent {
  readonly type: 'stream-end'
  readonly vbid: number
  /** A name, or `reason 9` for one unknown here. */
  readonly reason: StreamEndReasonName | (string & {})
  /** True: it is going to be opened again; false: it has come to its end. */
  readonly reopens: boolean
}

export type DcpEvent =
  Change | CollectionEvent | ScopeEvent | SnapshotMarkerEvent | SeqnoAdvancedEvent | StreamEndEvent

export function isChange(event: DcpEvent): event is Change {
  return event.type === 'mutation' || event.type === 'deletion' || event.type === 'expiration'
}

export function isSystemEvent(event: DcpEvent): event is CollectionEvent | ScopeEvent {
  return 'manifestUid' in event
}

const nothing = Buffer.alloc(0)

/** Whether the extras have a length that its kind may have. */
function hasItsExtras({ opcode, extrasLength }: Frame): boolean {
  if (opcode === Opcode.dcpMutation) return extrasLength === mutationExtrasLength
  if (opcode === Opcode.dcpExpiration) return extrasLength === expirationExtrasLength
  if (opcode !== Opcode.dcpDeletion) return false
  return extrasLength === deletionV1ExtrasLength || extrasLength === deletionV2ExtrasLength
}

/** Whether `readChange` can read it. */
export function isWholeChange(frame: Frame, hasCollections: boolean): boolean {
  if (!hasItsExtras(frame)) return false
  return frame.keyLength > (hasCollections ? prefixLength(frame) : 0)
}

/** Of the collection's id in front of the key; more than any key has where there is none. */
function prefixLength({ bytes, keyStart, keyLength }: Frame): number {
  const id = leb128At(bytes, keyStart, keyStart + keyLength)
  return id < 0 ? Infinity : leb128Length(id)
}

/** Seqno comes first in the extras of all three. */
export function changeSeqno(frame: Frame): number {
  return frame.extrasSeqno(MutationOffset.seqno)
}

/**
 * A mutation, deletion or expiration, detached. All three have one shape, to stay fast to read.
 * With `names`, the id of a collection is in front of the key.
 */
export function readChange(
  frame: Frame,
  seqno: number,
  names: CollectionNames | undefined,
): Change {
  const isMutation = frame.opcode === Opcode.dcpMutation
  const { bytes, keyStart, keyLength } = frame
  const collectionId = names ? leb128At(bytes, keyStart, keyStart + keyLength) : defaultCollection
  const idLength = names ? leb128Length(collectionId) : 0
  return {
    type: typeOfChange(frame),
    vbid: frame.vbid,
    seqno,
    revno: frame.extrasSeqno(MutationOffset.revno),
    cas: uint64From(frame.casHigh, frame.casLow),
    flags: isMutation ? frame.extrasUint32(MutationOffset.flags) : 0,
    expiry: isMutation ? frame.extrasUint32(MutationOffset.expiry) : 0,
    datatype: frame.datatype,
    collectionId,
    collection: names ? names.of(collectionId) : defaultCollectionPath,
    key: detached(frame, keyStart + idLength, keyLength - idLength),
    value: detached(frame, frame.valueStart, frame.valueLength),
    deleteTime: isMutation ? undefined : deleteTimeOf(frame),
  }
}

export function typeOfChange({ opcode }: Frame): Change['type'] {
  if (opcode === Opcode.dcpMutation) return 'mutation'
  return opcode === Opcode.dcpDeletion ? 'deletion' : 'expiration'
}

/** Of a deletion or expiration. */
export function deleteTimeOf(frame: Frame): number | undefined {
  if (frame.opcode === Opcode.dcpExpiration) return frame.extrasUint32(ExpirationOffset.deleteTime)
  const told = frame.extrasLength === deletionV2ExtrasLength
  return told ? frame.extrasUint32(DeletionOffset.deleteTime) : undefined
}

function detached(frame: Frame, start: number, length: number): Buffer {
  if (length === 0) return nothing
  const copy = Buffer.allocUnsafe(length)
  frame.bytes.copy(copy, 0, start, start + length)
  return copy
}
