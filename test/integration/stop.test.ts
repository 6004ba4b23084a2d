/** SIGTERM in the middle of everything: what was acknowledged is kept, and streams end in form. */
import { once } from 'node:events'
import { connect } from 'node:net'
import t, { type Test } from 'tap'
import { seqnoInfinity } from '../../protocol/bytes.ts'
import { DcpOpenFlag, encodeDcpOpen, dcpOpenLength } from '../../protocol/dcp/open.ts'
import { decodeStreamEnd, streamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import { encodeStreamRequest, streamRequestLength } from '../../protocol/dcp/stream-request.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode, opcodeName } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Connection } from '../../src/client/index.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { connectKv, documentsOf, readBucket } from './clients.ts'
import { Writers } from './writers.ts'

t.setTimeout(3 * 60_000)

t.test('writes in flight at SIGTERM are kept if they were acknowledged', async t => {
  const first = await startDaemon(t)
  const writers = await Writers.start(t, first, { clients: 4, inFlight: 200 })
  await writers.acknowledged(5_000)
  t.equal(await first.stop(), 0)
  await writers.ended()

  const second = await startDaemon(t, { data: first.data })
  t.notOk(second.stderr.some(line => line.includes('not clean')))
  const { checked, violations } = writers.check(documentsOf(await readBucket(second)))
  t.ok(checked >= 1_000, `${checked} keys`)
  t.same(violations, [])
  t.equal(await second.stop(), 0)
})

t.test('streams are told that the connection goes away, after all that was written', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  const vbids = [0, 1, 2]
  const { seen, closed } = await openStreams(t, daemon, vbids)
  for (const vbid of vbids) await client.set(`key-${vbid}`, 'v', { vbid })
  t.equal(await daemon.stop(), 0)
  await closed
  for (const vbid of vbids) {
    const expected = ['dcpSnapshotMarker', `mutation of key-${vbid}`, 'end: disconnected']
    t.same(seen[vbid], expected)
  }
})

t.test('a client that does not read delays the stop for the grace and no longer', async t => {
  const daemon = await startDaemon(t, { flags: ['--stop-grace', '1'] })
  const client = await connectKv(t, daemon)
  await client.set('large', Buffer.alloc(4 * 2 ** 20), { vbid: 0 })
  await askAndNeverRead(t, daemon)
  await client.set('after', 'that', { vbid: 0 })
  const startedMs = performance.now()
  t.equal(await daemon.stop(), 0)
  const tookMs = performance.now() - startedMs
  t.ok(tookMs > 900, `it waited ${tookMs} ms`)
  await daemon.line('cutting off clients at the stop')

  const second = await startDaemon(t, { data: daemon.data })
  const again = await connectKv(t, second)
  t.equal((await again.get('after', { vbid: 0 }))?.value.toString(), 'that')
})

t.test('a second SIGTERM ends it at once', async t => {
  const daemon = await startDaemon(t, { flags: ['--stop-grace', '30'] })
  const client = await connectKv(t, daemon)
  await client.set('large', Buffer.alloc(4 * 2 ** 20), { vbid: 0 })
  await askAndNeverRead(t, daemon)
  await client.get('large', { vbid: 0 })
  void daemon.stop()
  await daemon.line('stopping')
  process.kill(daemon.pid, 'SIGTERM')
  t.equal(await daemon.exited, 143)
})

/** Asks for 64 MiB in all, which no kernel buffers. */
async function askAndNeverRead(t: Test, daemon: DaemonProcess): Promise<void> {
  const silent = connect(daemon.port, daemon.host)
  t.teardown(() => silent.destroy())
  silent.on('error', () => undefined)
  await once(silent, 'connect')
  silent.pause()
  const get = encodeRequest({ opcode: Opcode.get, key: 'large' })
  for (let count = 0; count < 16; count++) silent.write(get)
}

/** What came on each stream of some vbuckets over one connection, until it was closed. */
async function openStreams(t: Test, daemon: DaemonProcess, vbids: readonly number[]) {
  const seen = vbids.map((): string[] => [])
  let close = () => {}
  const closed = new Promise<void>(resolve => (close = resolve))
  const connection = new Connection(
    { port: daemon.port },
    { onRequest: frame => void seen[frame.vbid]!.push(describe(frame)), onClose: () => close() },
  )
  t.teardown(() => connection.destroy())
  await connection.connected()
  const open = { opaque: 0, flags: DcpOpenFlag.producer, name: 'observer', value: '' }
  const bytes = Buffer.alloc(dcpOpenLength(open))
  encodeDcpOpen(bytes, 0, open)
  t.equal((await connection.request(bytes)).status, 0)
  for (const vbid of vbids) t.equal((await connection.request(streamRequest(vbid))).status, 0)
  return { seen, closed }
}

function describe(frame: Frame): string {
  if (frame.opcode === Opcode.dcpMutation) return `mutation of ${frame.key().toString()}`
  const end = decodeStreamEnd(frame)
  return end ? `end: ${streamEndReasonName(end.reason)}` : opcodeName(frame.opcode)
}

function streamRequest(vbid: number): Buffer {
  const request = {
    opaque: 0,
    vbid,
    flags: 0,
    startSeqno: 0,
    endSeqno: seqnoInfinity,
    vbuuid: 0n,
    snapshotStartSeqno: 0,
    snapshotEndSeqno: 0,
    value: '',
  }
  const bytes = Buffer.alloc(streamRequestLength(request))
  encodeStreamRequest(bytes, 0, request)
  return bytes
}
