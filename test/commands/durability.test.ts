/** Durability on one node: what waits for the disk, for how long, and what clients are told. */
import t from 'tap'
import { encodeFeatures, encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { DurabilityLevel, encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { storing } from '../support/bucket.ts'
import { eventually, serve } from '../server/harness.ts'

/** A bucket that cannot write waits ten seconds before it gives up; here it is one. */
const hasty: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs / 10, callback),
}

const durableSet = (level: DurabilityLevel, timeoutMs = 0) => ({
  opcode: Opcode.set,
  vbid: 1,
  key: 'k',
  value: 'v',
  extras: encodeStoreExtras({ flags: 0, expiry: 0 }),
  framing: encodeRequestFraming({ durabilityLevel: level, durabilityTimeoutMs: timeoutMs }),
})

t.test('a client that names no timeout is in doubt after half a minute', async t => {
  const clock = new ManualClock()
  const { bucket, client } = await serve(t, { clock })
  const waiting: ((error?: Error) => void)[] = []
  bucket.afterDurable = done => void waiting.push(done)
  const one = await client()
  one.send(durableSet(DurabilityLevel.persistToMajority))
  await eventually(() => waiting.length === 1)
  clock.advance(29_000)
  t.equal(one.waiting, 0)
  clock.advance(2_000)
  t.equal((await one.next()).status, Status.syncWriteAmbiguous)
  waiting[0]!()
  t.equal((await one.call({ opcode: Opcode.noop })).status, Status.success, 'and is told once')
})

t.test('a stop that cannot commit leaves clients in doubt, and says so', async t => {
  const settings = { mapSizeBytes: 4 * 2 ** 20 }
  const { bucket, server, client } = await serve(t, { clock: hasty, bucketSettings: settings })
  const one = await client()
  const features = [Feature.xerror, Feature.altRequest, Feature.syncReplication]
  await one.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  const afterDurable = bucket.afterDurable.bind(bucket)
  bucket.afterDurable = done => {
    // Together with the write that is waited for it is more than the map has room for.
    for (let i = 0; i < 30; i++) {
      bucket.documents.store(bucket.vbucket(1)!, storing(`key-${i}`, 'x'.repeat(200_000)))
    }
    afterDurable(done)
  }
  one.send(durableSet(DurabilityLevel.persistToMajority))
  await eventually(() => bucket.failure !== undefined)
  t.equal(one.waiting, 0)
  const stopped = server.close({ graceMs: 5000 })
  const answer = await one.next()
  t.equal(answer.status, Status.syncWriteAmbiguous)
  t.match(JSON.parse(answer.value().toString()), { error: { context: /the daemon stops/ } })
  await one.closed()
  await stopped
})

t.test('a durable write does not shut others of its key out, and readers see it', async t => {
  const { bucket, client } = await serve(t)
  const waiting: ((error?: Error) => void)[] = []
  bucket.afterDurable = done => void waiting.push(done)
  const [one, two] = await Promise.all([client(), client()])
  one!.send(durableSet(DurabilityLevel.persistToMajority))
  await eventually(() => waiting.length === 1)
  const read = { opcode: Opcode.get, vbid: 1, key: 'k' }
  const first = await two!.call(read)
  t.equal(first.status, Status.success, 'it is made already')
  two!.send({ ...durableSet(DurabilityLevel.persistToMajority), value: 'w' })
  await eventually(() => waiting.length === 2)
  t.equal((await (await client()).call(read)).value().toString(), 'w')
  t.equal(one!.waiting + two!.waiting, 0, 'neither is acknowledged')
  for (const done of waiting) done()
  const [answer, later] = [await one!.next(), await two!.next()]
  t.same([answer.status, later.status], [Status.success, Status.success])
  t.equal(answer.cas, first.cas)
  t.ok(later.cas > answer.cas, 'each is a version of its own')
})
