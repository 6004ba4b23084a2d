/** For whom streams leave room: clients that ask for documents, not those that only connect. */
import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { serve } from './harness.ts'

t.test('documents are being served from the first request about one, for a while', async t => {
  const clock = new ManualClock()
  const { client, bucket, dcp } = await serve(t, { clock })
  dcp.producer = { disconnected() {} }
  const { snapshots } = bucket
  const [reader, streamer] = [await client(), await client()]
  const extras = Buffer.from('0000000000000001', 'hex')
  streamer.send(
    { opcode: Opcode.hello, key: 'a client' },
    { opcode: Opcode.selectBucket, key: 'default' },
    { opcode: Opcode.noop },
  )
  await streamer.take(3)
  t.equal((await streamer.call({ opcode: Opcode.dcpOpen, key: 'name', extras })).status, 0)
  await reader.call({ opcode: Opcode.noop })
  t.equal(snapshots.areOthersServed, false, 'nobody has asked for a document')
  for (let request = 0; request < 3; request++) {
    t.equal((await reader.call({ opcode: Opcode.get, key: 'k' })).status, Status.keyNotFound)
    t.equal(snapshots.areOthersServed, true)
    clock.advance(1000)
    t.equal(snapshots.areOthersServed, false)
  }
})
