/** The version of a document that a sub-document command works on. */
import { Datatype } from '../../../protocol/datatype.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { PlainValue } from '../../storage/plain-value.ts'
import type { RecordView } from '../../storage/record.ts'
import type { Vbucket } from '../../vbucket/vbucket.ts'
import type { Session } from '../session.ts'

/** What is shown of it to others while a client holds a lock: a CAS that never matches. */
const lockedCas = 0xffffffff

export interface Version {
  readonly isDeleted: boolean
  readonly isLocked: boolean
  /** Not to be shown while it is locked. */
  readonly casHigh: number
  readonly casLow: number
  readonly seqno: number
  readonly revno: number
  readonly flags: number
  /** Of a tombstone: when it was deleted. */
  readonly expiry: number
  /** As it is stored; what is here of its value is plain. */
  readonly datatype: number
  /** The section of attributes, or nothing; like the body a view, valid until the next write. */
  readonly xattrs: Buffer
  readonly body: Buffer
  /** Undefined: only looking tells. */
  readonly bodyIsJson: boolean | undefined
}

/** The live document; with `seesDeleted` a tombstone, too. */
export function readVersion(
  session: Session,
  frame: Frame,
  vbucket: Vbucket,
  seesDeleted: boolean,
): Version | undefined {
  const { documents } = session
  const { bytes, keyStart, keyLength } = frame
  let record = documents.get(vbucket, bytes, keyStart, keyLength)
  if (record === undefined && seesDeleted) {
    record = documents.getMeta(vbucket, bytes, keyStart, keyLength)
    if (record?.isDeletion !== true) return undefined
  }
  if (record === undefined) return undefined
  const isLocked = documents.isLocked(vbucket, bytes, keyStart, keyLength)
  return versionOf(record, isLocked, documents.detectsJson)
}

const plain = new PlainValue()

function versionOf(record: RecordView, isLocked: boolean, detectsJson: boolean): Version {
  const { isDeletion, datatype } = record
  const { bytes, start, bodyStart, end } = plain.of(record)
  const value = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  return {
    isDeleted: isDeletion,
    isLocked,
    casHigh: record.casHigh,
    casLow: record.casLow,
    seqno: record.seqno,
    revno: record.revno,
    flags: record.flags,
    expiry: isDeletion ? record.deleteTime : record.expiry,
    datatype,
    xattrs: value.subarray(start, bodyStart),
    body: value.subarray(bodyStart, end),
    bodyIsJson: detectsJson ? (datatype & Datatype.json) !== 0 : undefined,
  }
}

/** The CAS as it is shown, in its halves. */
export function shownCas({ isLocked, casHigh, casLow }: Version): [high: number, low: number] {
  return isLocked ? [lockedCas, lockedCas] : [casHigh, casLow]
}
