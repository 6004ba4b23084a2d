/** Reads pinned snapshots, which show what a model held when they were pinned. */
import { strict as assert } from 'node:assert'
import {
  decodeSystemEvent,
  decodeCollectionEvent,
  decodeScopeEvent,
} from '../../protocol/dcp/index.ts'
import { decodeFrame, Frame, headerLength } from '../../protocol/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { RecordView } from '../../src/storage/record.ts'
import type { SnapshotReference } from '../../src/storage/snapshot.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { changeIn, type Change } from './model.ts'
import { wholeForm } from '../support/frame-form.ts'

/** Of a system event all but its seqno and subject is told in a form of its own. */
type Scanned = Change | Pick<Change, 'seqno' | 'key'>

const view = new RecordView()

/** What comes behind a seqno, read in pieces of up to `slabBytes()`. */
export async function scanned(
  bucket: Bucket,
  reference: SnapshotReference,
  afterSeqno: number,
  slabBytes: () => number,
): Promise<Scanned[]> {
  const { persistedSeqno: toSeqno } = reference
  const reading = reference.scan({ afterSeqno, toSeqno, form: wholeForm })
  const found: Scanned[] = []
  for (;;) {
    const [slab] = await bucket.snapshots.read([reading], slabBytes())
    assert.ok(slab)
    let offset = 0
    for (let i = 0; i < slab.frames; i++) {
      const isEvent = slab.bytes[offset + 1] === Opcode.dcpSystemEvent
      const length = headerLength + slab.bytes.readUInt32BE(offset + 8)
      found.push(
        isEvent
          ? eventIn(slab.bytes.subarray(offset, offset + length))
          : changeIn(view.at(slab.bytes, offset)),
      )
      offset += length
    }
    if (slab.done) return found
  }
}

/** What the model says of it, in the same form. */
export function expectedScan(changes: readonly Change[], afterSeqno: number): Scanned[] {
  return changes
    .filter(({ seqno }) => seqno > afterSeqno)
    .map(change => (isDocument(change) ? change : { seqno: change.seqno, key: change.key }))
}

function isDocument({ key }: Pick<Change, 'key'>): boolean {
  return key.includes(':')
}

function eventIn(bytes: Buffer): Pick<Change, 'seqno' | 'key'> {
  const frame = decodeFrame(bytes)
  assert.ok(frame instanceof Frame)
  const event = decodeSystemEvent(frame)!
  const { seqno } = event
  const collection = decodeCollectionEvent(event)
  if (collection) return { seqno, key: `collection ${collection.collectionId}` }
  return { seqno, key: `scope ${decodeScopeEvent(event)!.scopeId}` }
}
