/** What mutated requests have brought to light, each in its smallest form. */
import t, { type Test } from 'tap'
import { DcpOpenFlag, dcpOpenLength, encodeDcpOpen } from '../../protocol/dcp/open.ts'
import {
  encodeStreamRequest,
  StreamRequestFlag,
  streamRequestLength,
} from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import { Connection } from '../../src/client/index.ts'
import { connectKv } from '../integration/clients.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

t.setTimeout(2 * 60_000)

const flags = ['--vbuckets', '4', '--environments', '1']

t.test('streams that are asked for while the bucket is emptied end in an orderly way', async t => {
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  const connection = await openProducer(t, daemon)
  const answers = new Set<number>()
  for (let round = 0; round < 40; round++) {
    await Promise.all([0, 1, 2, 3].map(vbid => client.set(`k${round}`, 'v', { vbid })))
    for (const vbid of [0, 1, 2, 3]) await client.seqnoPersisted(vbid, 1)
    const requests = [0, 1, 2, 3].map(vbid => connection.request(streamRequest(vbid)))
    const emptied = client.flush()
    for (const { status } of await Promise.all(requests)) answers.add(status)
    await emptied
  }
  const expected: number[] = [Status.success, Status.notMyVbucket, Status.temporaryFailure]
  t.ok(
    [...answers].every(status => expected.includes(status)),
    `${[...answers].join(', ')}`,
  )
  t.equal(await daemon.stop(), 0)
  t.same(
    daemon.stderr.filter(line => line.includes('"level":"error"')),
    [],
  )
})

async function openProducer(t: Test, { port }: DaemonProcess): Promise<Connection> {
  const connection = await Connection.open({ port })
  t.teardown(() => connection.destroy())
  const open = { opaque: 0, flags: DcpOpenFlag.producer, name: 'finder', value: '' }
  const bytes = Buffer.alloc(dcpOpenLength(open))
  encodeDcpOpen(bytes, 0, open)
  t.equal((await connection.request(bytes)).status, Status.success)
  return connection
}

/** To the newest on disk, so that it comes from there. */
function streamRequest(vbid: number): Buffer {
  const request = {
    opaque: 0,
    vbid,
    flags: StreamRequestFlag.diskOnly,
    startSeqno: 0,
    endSeqno: 1,
    vbuuid: 0n,
    snapshotStartSeqno: 0,
    snapshotEndSeqno: 0,
    value: '',
  }
  const bytes = Buffer.alloc(streamRequestLength(request))
  encodeStreamRequest(bytes, 0, request)
  return bytes
}
