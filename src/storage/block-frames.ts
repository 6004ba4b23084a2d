/**
 * Writes the records of a block as the frames that one stream's client negotiated. Most are sent
 * as they lie there, but for the opaque: neighbours of these are copied together.
 */
import { readSeqno, writeUint32 } from '../../protocol/bytes.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { headerLength } from '../../protocol/header.ts'
import { copyShared } from './copy-shared.ts'
import { blockHeadLength, recordLengthIn } from './block.ts'
import type { ScannedBlock } from './block-scan.ts'
import type { RecordFilter } from './record-filter.ts'
import { isSentWhole, OutgoingFrame, type FrameForm } from './record-frame.ts'
import { systemCollection } from './record-key.ts'
import { mutationExtrasLength, opaqueOffset, RecordKind, RecordView } from './record.ts'

/** Memory that frames are gathered in. */
export interface Slab {
  bytes: Buffer
  length: number
  /** Is called with memory that a larger one has taken the place of. */
  outgrown: (memory: Buffer) => void
}

export interface FrameRange {
  toSeqno: number
  form: FrameForm
  filter: RecordFilter
  /** The frame that passes this length of the slab is the last. */
  bytesMax: number
}

/** How far frames have been written. */
export interface Reached {
  frames: number
  /** Everything up to here has been looked at. */
  lastSeqno: number
  /** Of the last frame. */
  frameSeqno: number
}

/**
 * For streams that get nearly all documents as they lie there: the bits of a datatype with which they
 * do not. So most records are told by four of their bytes. Undefined: each has to be looked at.
 */
function changedDatatypes(form: FrameForm, filter: RecordFilter): number | undefined {
  const changesAll = !form.collections || form.streamId !== 0 || form.noValue
  if (changesAll || form.forceSnappy || !filter.passesAll) return undefined
  return (form.includeXattrs ? 0 : Datatype.xattr) | (form.keepSnappy ? 0 : Datatype.snappy)
}

/** Whether a record is a document that is sent as it lies there, for such streams. */
function isPlain(bytes: Buffer, at: number, changed: number): boolean {
  return (
    bytes[at + 1] === RecordKind.mutation &&
    (bytes[at + 5]! & changed) === 0 &&
    bytes[at + headerLength + mutationExtrasLength] !== systemCollection
  )
}

const view = new RecordView()
const frame = new OutgoingFrame()

/**
 * Writes the frames behind `reached.lastSeqno`, and moves that. False when the slab is full and
 * there may be more: call again with another.
 */
export function writeFrames(
  block: ScannedBlock,
  { toSeqno, form, filter, bytesMax }: FrameRange,
  slab: Slab,
  reached: Reached,
): boolean {
  const { bytes, length } = block
  const changed = changedDatatypes(form, filter)
  // Records that are to be copied together, the last of which ends where the scan is.
  let runStart = 0
  let at = blockHeadLength
  const copyRun = () => {
    if (runStart === 0) return
    copyShared(bytes, runStart, at, slab.bytes, slab.length)
    slab.length += at - runStart
    runStart = 0
  }
  for (;;) {
    const recordBytes = recordLengthIn(bytes, at, length)
    if (recordBytes === 0) break
    const seqno = readSeqno(bytes, at + headerLength)
    if (seqno > toSeqno) break
    if (seqno <= reached.lastSeqno || !block.isLive(seqno)) {
      copyRun()
      at += recordBytes
      continue
    }
    let isWhole = changed !== undefined && isPlain(bytes, at, changed)
    if (!isWhole) {
      view.at(bytes, at)
      if (!filter.passes(view)) {
        copyRun()
        reached.lastSeqno = seqno
        at += recordBytes
        continue
      }
      isWhole = isSentWhole(view, form)
    }
    const frameBytes = isWhole ? recordBytes : frame.of(view, form).length
    const used = slab.length + (runStart > 0 ? at - runStart : 0)
    if (used >= bytesMax || used + frameBytes > slab.bytes.length) {
      if (used > 0) {
        copyRun()
        return false
      }
      slab.outgrown(slab.bytes)
      slab.bytes = Buffer.from(new ArrayBuffer(frameBytes))
    }
    if (isWhole) {
      writeUint32(bytes, at + opaqueOffset, form.opaque)
      if (runStart === 0) runStart = at
    } else {
      copyRun()
      slab.length += frame.write(slab.bytes, slab.length)
    }
    reached.frames++
    reached.lastSeqno = seqno
    reached.frameSeqno = seqno
    at += recordBytes
  }
  copyRun()
  return true
}
