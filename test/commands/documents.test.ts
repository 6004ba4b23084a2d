import t from 'tap'
import { Buffer } from 'node:buffer'
import { cpSync } from 'node:fs'
import {
  counterExpiryNoCreate,
  decodeCounterValue,
  decodeFlagsExtras,
  decodeMutationToken,
  encodeCounterExtras,
  encodeFeatures,
  encodeStoreExtras,
  encodeUint32Extras,
} from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { openBuckets, read } from '../support/bucket.ts'
import { ownDirectory } from '../support/own-directory.ts'
import { eventually, serve, type TestClient } from '../server/harness.ts'

const set = (key: string, value: string, more: { flags?: number; expiry?: number } = {}) => ({
  opcode: Opcode.set,
  key,
  value,
  extras: encodeStoreExtras({ flags: more.flags ?? 0, expiry: more.expiry ?? 0 }),
})
const get = (key: string) => ({ opcode: Opcode.get, key })

async function valueOf(client: TestClient, key: string): Promise<string> {
  return (await client.call(get(key))).value().toString()
}

function hello(...features: number[]) {
  return { opcode: Opcode.hello, key: 'test', value: encodeFeatures(features) }
}

t.test('a document is stored with its flags, and read with and without its key', async t => {
  const { client } = await serve(t)
  const one = await client()
  const stored = await one.call({ ...set('k', 'value', { flags: 0xdeadbeef }), opaque: 7 })
  t.equal(stored.status, Status.success)
  t.equal(stored.opaque, 7)
  t.not(stored.cas, 0n)
  t.equal(stored.bodyLength, 0)
  const read = await one.call(get('k'))
  t.equal(read.value().toString(), 'value')
  t.equal(decodeFlagsExtras(read), 0xdeadbeef)
  t.equal(read.cas, stored.cas)
  t.equal(read.keyLength, 0)
  const withKey = await one.call({ opcode: Opcode.getk, key: 'k' })
  t.equal(withKey.key().toString(), 'k')
  t.equal(withKey.value().toString(), 'value')
})

t.test('a miss says so in words, with the key if that was asked for, or not at all', async t => {
  const { client } = await serve(t)
  const one = await client()
  const miss = await one.call(get('none'))
  t.equal(miss.status, Status.keyNotFound)
  t.equal(miss.value().toString(), 'Not found')
  t.equal(miss.cas, 0n)
  const withKey = await one.call({ opcode: Opcode.getk, key: 'none' })
  t.equal(withKey.status, Status.keyNotFound)
  t.equal(withKey.key().toString(), 'none')
  t.equal(withKey.valueLength, 0)
  one.send(
    { opcode: Opcode.getq, key: 'none' },
    { opcode: Opcode.getkq, key: 'none' },
    { opcode: Opcode.gatq, key: 'none', extras: encodeUint32Extras(1) },
    { opcode: Opcode.gatkq, key: 'none', extras: encodeUint32Extras(1) },
    { opcode: Opcode.getqMeta, key: 'none' },
    { opcode: Opcode.noop, opaque: 9 },
  )
  t.equal((await one.next()).opaque, 9)
})

t.test('quiet mutations answer nothing but their errors', async t => {
  const { client } = await serve(t)
  const one = await client()
  const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
  const counter = encodeCounterExtras({ delta: 1n, initial: 5n, expiry: 0 })
  one.send(
    { opcode: Opcode.setq, key: 'a', value: '1', extras },
    { opcode: Opcode.addq, key: 'b', value: '2', extras },
    { opcode: Opcode.replaceq, key: 'a', value: '3', extras },
    { opcode: Opcode.appendq, key: 'a', value: '4' },
    { opcode: Opcode.prependq, key: 'a', value: '2' },
    { opcode: Opcode.incrementq, key: 'n', extras: counter },
    { opcode: Opcode.decrementq, key: 'n', extras: counter },
    { opcode: Opcode.deleteq, key: 'b' },
    { opcode: Opcode.addq, key: 'a', value: '9', extras, opaque: 1 },
    { opcode: Opcode.replaceq, key: 'none', value: '9', extras, opaque: 2 },
    { opcode: Opcode.deleteq, key: 'none', opaque: 3 },
    { opcode: Opcode.appendq, key: 'none', value: '9', opaque: 4 },
    { opcode: Opcode.setq, key: 'a', value: '9', extras, cas: 1n, opaque: 5 },
    { opcode: Opcode.noop, opaque: 6 },
  )
  const answers = await one.take(6)
  t.same(
    answers.map(({ opaque, status }) => [opaque, status]),
    [
      [1, Status.keyExists],
      [2, Status.keyNotFound],
      [3, Status.keyNotFound],
      [4, Status.notStored],
      [5, Status.keyExists],
      [6, Status.success],
    ],
  )
  t.equal(await valueOf(one, 'a'), '234')
  t.equal(await valueOf(one, 'n'), '4')
})

t.test('add, replace and cas hold to what is there', async t => {
  const { client } = await serve(t)
  const one = await client()
  const { cas } = await one.call(set('k', '1'))
  t.equal((await one.call({ ...set('k', '2'), opcode: Opcode.add })).status, Status.keyExists)
  const replaced = await one.call({ ...set('k', '3'), opcode: Opcode.replace, cas })
  t.equal(replaced.status, Status.success)
  t.not(replaced.cas, cas)
  const stale = await one.call({ ...set('k', '4'), cas })
  t.equal(stale.status, Status.keyExists)
  t.equal(stale.value().toString(), 'Data exists for key.')
  t.equal((await one.call({ ...set('none', '4'), cas })).status, Status.keyNotFound)
  t.equal((await one.call({ opcode: Opcode.delete, key: 'k', cas })).status, Status.keyExists)
  t.equal(await valueOf(one, 'k'), '3')
})

t.test('a deletion shows its cas to those who said hello', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call(set('k', '1'))
  const plain = await one.call({ opcode: Opcode.delete, key: 'k' })
  t.equal(plain.status, Status.success)
  t.equal(plain.cas, 0n)
  await one.call(hello(Feature.xerror))
  const { cas } = await one.call(set('k', '1'))
  const deleted = await one.call({ opcode: Opcode.delete, key: 'k' })
  t.ok(deleted.cas > cas)
})

t.test('counters count to 64 bits, wrap upwards and stop at zero', async t => {
  const { client } = await serve(t)
  const one = await client()
  const count = (opcode: number, delta: bigint, initial = 0n, expiry = 0) =>
    one.call({ opcode, key: 'n', extras: encodeCounterExtras({ delta, initial, expiry }) })
  const { increment, decrement } = Opcode
  t.equal((await count(increment, 1n, 0n, counterExpiryNoCreate)).status, Status.keyNotFound)
  const made = await count(increment, 1n, 2n ** 64n - 2n)
  t.equal(decodeCounterValue(made), 2n ** 64n - 2n)
  t.not(made.cas, 0n)
  t.equal(decodeCounterValue(await count(increment, 1n)), 2n ** 64n - 1n)
  t.equal(decodeCounterValue(await count(increment, 3n)), 2n)
  t.equal(decodeCounterValue(await count(decrement, 5n)), 0n)
  t.equal(await valueOf(one, 'n'), '0')
  await one.call(set('n', 'no number'))
  const refused = await count(increment, 1n)
  t.equal(refused.status, Status.badDelta)
  t.equal(refused.value().toString(), 'Non-numeric server-side value for incr or decr')
})

t.test('append and prepend keep flags and expiry', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call(set('k', 'b', { flags: 5 }))
  t.equal((await one.call({ opcode: Opcode.append, key: 'k', value: 'c' })).status, 0)
  const { cas } = await one.call({ opcode: Opcode.prepend, key: 'k', value: 'a' })
  const read = await one.call(get('k'))
  t.equal(read.value().toString(), 'abc')
  t.equal(decodeFlagsExtras(read), 5)
  t.equal(read.cas, cas)
  const missing = await one.call({ opcode: Opcode.append, key: 'none', value: 'c' })
  t.equal(missing.status, Status.notStored)
})

/** A clock that stands until it is moved; timers are the machine's. */
function movableClock(): Clock & { move(seconds: number): void } {
  let offsetMs = 0
  return {
    ...systemClock,
    nowMs: () => systemClock.nowMs() + offsetMs,
    move: seconds => void (offsetMs += seconds * 1000),
  }
}

t.test('expired documents are gone; touch and gat give new expiries', async t => {
  const clock = movableClock()
  const { client } = await serve(t, { clock })
  const one = await client()
  await one.call(set('a', '1', { expiry: 10 }))
  await one.call(set('b', '2', { expiry: 10, flags: 3 }))
  await one.call(set('c', '3', { expiry: 10 }))
  await one.call(set('d', '4', { expiry: 10 }))
  const touched = await one.call({ opcode: Opcode.touch, key: 'a', extras: encodeUint32Extras(99) })
  t.equal(touched.status, Status.success)
  t.equal(touched.bodyLength, 0)
  const gotten = await one.call({ opcode: Opcode.gat, key: 'b', extras: encodeUint32Extras(0) })
  t.equal(gotten.value().toString(), '2')
  t.equal(decodeFlagsExtras(gotten), 3)
  const withKey = await one.call({ opcode: Opcode.gatk, key: 'c', extras: encodeUint32Extras(99) })
  t.equal(withKey.key().toString(), 'c')
  t.equal(withKey.value().toString(), '3')
  clock.move(20)
  t.equal(await valueOf(one, 'a'), '1')
  t.equal(await valueOf(one, 'b'), '2')
  t.equal(await valueOf(one, 'c'), '3')
  t.equal((await one.call(get('d'))).status, Status.keyNotFound)
  clock.move(100)
  t.equal((await one.call(get('a'))).status, Status.keyNotFound)
  t.equal(await valueOf(one, 'b'), '2')
  const missing = { opcode: Opcode.touch, key: 'none', extras: encodeUint32Extras(0) }
  t.equal((await one.call(missing)).status, Status.keyNotFound)
  t.equal((await one.call({ ...missing, opcode: Opcode.gatk })).key().toString(), 'none')
})

t.test('preserve-ttl keeps the expiry that a document has', async t => {
  const clock = movableClock()
  const { client } = await serve(t, { clock })
  const one = await client()
  const framing = encodeRequestFraming({ preserveExpiry: true })
  await one.call(set('k', '1', { expiry: 10 }))
  await one.call({ ...set('k', '2'), framing })
  await one.call({ ...set('new', '3', { expiry: 10 }), framing })
  await one.call(set('other', '4'))
  clock.move(20)
  t.equal((await one.call(get('k'))).status, Status.keyNotFound)
  t.equal((await one.call(get('new'))).status, Status.keyNotFound)
  t.equal(await valueOf(one, 'other'), '4')
})

t.test('a locked document is changed only by who holds the lock', async t => {
  const { client } = await serve(t)
  const [one, two] = [await client(), await client()]
  await two.call(hello(Feature.xerror))
  await one.call(set('k', '1'))
  const locked = await one.call({
    opcode: Opcode.getLocked,
    key: 'k',
    extras: encodeUint32Extras(9),
  })
  t.equal(locked.value().toString(), '1')
  t.equal((await two.call(get('k'))).cas, 2n ** 64n - 1n, 'nobody else sees its cas')
  t.equal((await two.call(set('k', '2'))).status, Status.locked)
  t.equal((await two.call({ opcode: Opcode.getLocked, key: 'k' })).status, Status.locked)
  const plain = await client()
  t.equal((await plain.call(set('k', '2'))).status, Status.keyExists)
  t.equal(
    (await plain.call({ opcode: Opcode.getLocked, key: 'k' })).status,
    Status.temporaryFailure,
  )
  const unlock = { opcode: Opcode.unlockKey, key: 'k' }
  t.equal((await two.call(unlock)).status, Status.invalidArguments)
  t.equal((await two.call({ ...unlock, cas: locked.cas + 1n })).status, Status.locked)
  t.equal((await one.call({ ...unlock, cas: locked.cas })).status, Status.success)
  t.equal((await two.call({ ...unlock, cas: locked.cas })).status, Status.notLocked)
  t.equal((await plain.call({ ...unlock, cas: 1n })).status, Status.temporaryFailure)
  t.equal((await two.call({ ...unlock, key: 'none', cas: 1n })).status, Status.keyNotFound)
  const again = await two.call({ opcode: Opcode.getLocked, key: 'k' })
  t.equal((await two.call({ ...set('k', '3'), cas: again.cas })).status, Status.success)
  t.equal((await one.call(set('k', '4'))).status, Status.success, 'a write ends the lock')
})

t.test('mutations carry the place in the history, if that was negotiated', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  const granted = await one.call(hello(Feature.mutationSeqno))
  t.equal(granted.value().toString('hex'), '0004')
  const { vbuuid } = bucket.vbucket(3)!.failoverLog
  const inThree = { vbid: 3 }
  t.same(decodeMutationToken(await one.call({ ...set('k', '1'), ...inThree })), {
    vbuuid,
    seqno: 1,
  })
  const counter = { opcode: Opcode.increment, key: 'n', ...inThree }
  const extras = encodeCounterExtras({ delta: 1n, initial: 5n, expiry: 0 })
  const counted = await one.call({ ...counter, extras })
  t.same(decodeMutationToken(counted), { vbuuid, seqno: 2 })
  t.equal(decodeCounterValue(counted), 5n)
  const appended = await one.call({ opcode: Opcode.append, key: 'k', value: '2', ...inThree })
  t.same(decodeMutationToken(appended), { vbuuid, seqno: 3 })
  const deleted = await one.call({ opcode: Opcode.delete, key: 'k', ...inThree })
  t.same(decodeMutationToken(deleted), { vbuuid, seqno: 4 })
  t.equal((await one.call({ ...get('n'), ...inThree })).extrasLength, 4)
})

t.test('the datatype of JSON is shown to those who negotiated it', async t => {
  const { client } = await serve(t)
  const [one, two] = [await client(), await client()]
  await one.call(hello(Feature.json))
  await one.call({ ...set('k', '{}'), datatype: 1 })
  t.equal((await one.call(get('k'))).datatype, 1)
  t.equal((await two.call(get('k'))).datatype, 0)
  await two.call({ ...set('k', '[]'), datatype: 1 })
  t.equal((await one.call(get('k'))).datatype, 0, 'nobody vouched for it')
})

t.test('a majority of one is there at once, the levels above wait for the disk', async t => {
  const { bucket, client } = await serve(t)
  const waiting: (() => void)[] = []
  bucket.afterDurable = done => void waiting.push(done)
  const one = await client()
  const durable = (level: 1 | 2 | 3, durabilityTimeoutMs = 0) =>
    encodeRequestFraming({ durabilityLevel: level, durabilityTimeoutMs })
  t.equal((await one.call({ ...set('k', '1'), framing: durable(1) })).status, Status.success)
  t.equal(waiting.length, 0)
  const counter = encodeCounterExtras({ delta: 1n, initial: 5n, expiry: 0 })
  one.send(
    { ...set('k', '2'), framing: durable(2) },
    { opcode: Opcode.increment, key: 'n', extras: counter, framing: durable(3) },
    { opcode: Opcode.setq, key: 'q', value: 'v', extras: Buffer.alloc(8), framing: durable(3) },
    { opcode: Opcode.gat, key: 'k', extras: encodeUint32Extras(50), framing: durable(3) },
    { opcode: Opcode.noop, opaque: 4 },
  )
  await eventually(() => waiting.length === 4)
  for (const done of waiting.splice(0, 3)) done()
  const [stored, counted] = await one.take(2)
  t.equal(stored!.status, Status.success)
  t.equal(decodeCounterValue(counted!), 5n)
  t.equal(one.waiting, 0)
  waiting.pop()!()
  const [touched, noop] = await one.take(2)
  t.equal(touched!.value().toString(), '2')
  t.equal(noop!.opaque, 4)
  const late = await one.call({ ...set('k', '3'), framing: durable(2, 5) })
  t.equal(late.status, Status.syncWriteAmbiguous)
  waiting.pop()!()
  t.equal(await valueOf(one, 'k'), '3', 'it may have been made all the same')
})

t.test('with --ack disk every mutation is on disk before it is answered', async t => {
  const { bucket, client, directory } = await serve(t, { settings: { ack: 'disk' } })
  const one = await client()
  const vbucket = bucket.vbucket(0)!
  for (let seqno = 1; seqno <= 5; seqno++) {
    t.equal((await one.call(set('k', String(seqno)))).status, Status.success)
    // As a crash right now would leave it, in LMDB or in the journal.
    const copy = ownDirectory(t)
    cpSync(directory, copy, { recursive: true, filter: path => !path.endsWith('LOCK') })
    const after = await openBuckets(t, copy)
    t.equal(read(after.bucket, after.bucket.vbucket(0)!, 'k'), String(seqno))
    await after.buckets.close()
  }
  t.equal(vbucket.highSeqno, 5)
  const touch = { opcode: Opcode.touch, key: 'k', extras: encodeUint32Extras(0) }
  t.equal((await one.call(touch)).status, Status.success, 'also if nothing had to be written')
})
