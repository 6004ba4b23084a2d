/** One disk snapshot on its way to the connection: what becomes of the memory it was read into. */
import t from 'tap'
import { Backfill } from '../../src/dcp/backfill.ts'
import { FlowControl } from '../../src/dcp/flow-control.ts'
import { Outbox } from '../../src/dcp/outbox.ts'
import type { DcpOutput } from '../../src/dcp/output.ts'
import type { Scan } from '../../src/storage/pin.ts'
import type { ScanSlab } from '../../src/storage/snapshot.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Opcode } from '../../protocol/opcode.ts'

const seqnoExtras = Buffer.alloc(31)

/** A slab of frames of about `bytes` each, and a backfill that is about to send it. */
function backfillOf(frames: number, bytes: number) {
  const written: { bytes: Uint8Array; taken: (() => void) | undefined }[] = []
  const output: DcpOutput = {
    write: (part, taken) => void written.push({ bytes: part, taken }),
    queuedBytes: 0,
    onDrain: undefined,
    close: () => undefined,
  }
  const frame = encodeRequest({
    opcode: Opcode.dcpMutation,
    extras: seqnoExtras,
    key: 'key',
    value: Buffer.alloc(bytes),
  })
  const state = { freed: 0 }
  const slab: ScanSlab = {
    bytes: Buffer.concat(Array.from({ length: frames }, () => frame)),
    frames,
    lastSeqno: 0,
    frameSeqno: 0,
    done: true,
    free: () => void state.freed++,
  }
  const outbox = new Outbox(output, new FlowControl())
  const backfill = new Backfill({
    vbid: 0,
    outbox,
    form: { vbid: 0, opaque: 0 } as never,
    writeMarker: () => undefined,
    snapshotStart: 0,
    snapshotEnd: 0,
    coveredSeqno: 0,
    afterSeqno: 0,
    held: undefined,
    reference: {
      snapshot: {
        snapshotId: 1,
        vbid: 0,
        persistedSeqno: 0,
        purgeSeqno: 0,
        defaultSeqno: 0,
        pinnedAtMs: 0,
        scan: () => ({ close: () => undefined }) as Scan,
        release: () => undefined,
      },
      release: () => undefined,
    },
  })
  backfill.take(slab)
  return { backfill, outbox, written, slab, state }
}

t.test('memory is not given back while a piece of it waits for the kernel', async t => {
  const { backfill, outbox, written, slab, state } = backfillOf(4, 1000)
  t.equal(backfill.step(2500), 'more')
  t.equal(backfill.step(100_000), 'whole')
  outbox.flush()
  t.equal(state.freed, 0, 'the last piece is short, but the first one still waits')
  t.same(Buffer.concat(written.map(({ bytes }) => bytes)), slab.bytes)
  for (const { taken } of written) taken?.()
  t.equal(state.freed, 1)
})

t.test('a short slab is copied: many of them leave in one piece', async t => {
  const { backfill, outbox, written, slab, state } = backfillOf(2, 100)
  t.equal(backfill.step(100_000), 'whole')
  t.equal(state.freed, 1)
  t.same(written, [], 'it waits for what else there is to send')
  outbox.flush()
  t.same(Buffer.concat(written.map(({ bytes }) => bytes)), slab.bytes)
})

t.test('a long slab is handed over as it is', async t => {
  const { backfill, written, slab, state } = backfillOf(20, 1000)
  t.equal(backfill.step(100_000), 'whole')
  t.equal(written.length, 1)
  t.equal(written[0]!.bytes.buffer, slab.bytes.buffer)
  t.equal(state.freed, 0)
  written[0]!.taken!()
  t.equal(state.freed, 1)
})
