import t from 'tap'
import { encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { eventually, serve, type TestClient } from './harness.ts'

const KiB = 1024
const MiB = 1024 * KiB
const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
const set = (key: string, value: string | Buffer, opaque = 0) => ({
  opcode: Opcode.set,
  key,
  value,
  extras,
  opaque,
})
const get = (key: string, opaque = 0) => ({ opcode: Opcode.get, key, opaque })

/** Lets a test say how far the disk is behind. */
function ruleDisk(bucket: Bucket): (pressure: 'none' | 'soft' | 'hard') => void {
  let current: 'none' | 'soft' | 'hard' = 'none'
  const listeners = new Set<(pressure: 'none' | 'soft' | 'hard') => void>()
  Object.defineProperty(bucket, 'pressure', { get: () => current })
  bucket.onPressure = listener => {
    listeners.add(listener)
    return () => listeners.delete(listener)
  }
  return pressure => {
    current = pressure
    for (const listener of listeners) listener(pressure)
  }
}

t.test('a client that does not read is not read from, and goes on when it reads', async t => {
  const { server, client } = await serve(t)
  const one = await client()
  const value = Buffer.alloc(100 * KiB, 7)
  await one.call(set('k', value))
  one.socket.pause()
  const requests = 400
  one.send(...Array.from({ length: requests }, (_, index) => get('k', index)))
  await eventually(() => server.budget.totalBytes > MiB)
  const other = await client()
  t.equal((await other.call(get('k'))).valueLength, value.length, 'others are served')
  t.ok(server.budget.totalBytes < 2 * MiB, 'about the limit of one connection is held')
  one.socket.resume()
  const answers = await one.take(requests)
  t.ok(answers.every(({ opaque, valueLength }, index) => opaque === index && valueLength > 0))
  await eventually(() => server.budget.totalBytes === 0)
})

t.test('many clients that never read cost bounded memory and hinder nobody', async t => {
  const { server, client } = await serve(t, { settings: { outputBytesMax: 256 * KiB } })
  const reader = await client()
  await reader.call(set('k', Buffer.alloc(64 * KiB, 1)))
  const clients = 60
  // 64 MiB for each: more than any kernel takes in.
  const asked = Buffer.concat(Array.from({ length: 1024 }, () => encodeRequest(get('k'))))
  const silent: TestClient[] = []
  for (let index = 0; index < clients; index++) {
    const one = await client()
    one.socket.pause()
    one.socket.write(asked)
    silent.push(one)
  }
  await eventually(() => server.budget.debtors === clients)
  for (let round = 0; round < 20; round++) {
    t.equal((await reader.call(get('k'))).valueLength, 64 * KiB)
  }
  const { softBytes, totalBytes } = server.budget
  t.ok(totalBytes < softBytes + clients * 192 * KiB, `${totalBytes} bytes are held`)
  for (const one of silent) one.socket.destroy()
  await eventually(() => server.connections === 1)
  t.equal(server.budget.totalBytes, 0)
})

t.test('past the limit of all, whoever leaves most unread is closed', async t => {
  const { server, client } = await serve(t, { settings: { outputBytesMax: 64 * KiB } })
  const reader = await client()
  await reader.call(set('k', Buffer.alloc(MiB, 1)))
  const silent = []
  for (let index = 0; index < 16; index++) {
    const one = await client()
    one.socket.pause()
    one.send(...Array.from({ length: 8 }, () => get('k')))
    silent.push(one)
  }
  await eventually(() => server.budget.evictions > 0)
  t.ok(server.budget.totalBytes < server.budget.hardBytes)
  t.equal((await reader.call(get('k'))).valueLength, MiB)
})

t.test('requests that never end cost bounded memory', async t => {
  const { server, client } = await serve(t, { settings: { frameBytesMax: 64 * KiB } })
  const whole = encodeRequest(set('k', Buffer.alloc(63 * KiB)))
  const cut = whole.subarray(0, whole.length - 1)
  const clients: TestClient[] = []
  for (let index = 0; index < 40; index++) {
    const one = await client()
    one.socket.write(cut)
    clients.push(one)
  }
  await eventually(() => server.intakeBudget.evictions > 0)
  t.ok(server.intakeBudget.totalBytes < server.intakeBudget.hardBytes)
  const last = clients.at(-1)!
  last.socket.write(whole.subarray(-1))
  t.equal((await last.next()).status, Status.success, 'who remains may finish')
  for (const one of clients) one.socket.destroy()
  await eventually(() => server.connections === 0)
  t.equal(server.intakeBudget.totalBytes, 0)
})

t.test('who writes while the disk is behind is not read from until it has caught up', async t => {
  const { server, bucket, client } = await serve(t)
  const setPressure = ruleDisk(bucket)
  const [writer, reader] = [await client(), await client()]
  setPressure('soft')
  writer.send(set('a', '1', 1), set('b', '2', 2), get('a', 3))
  t.equal((await writer.next()).status, Status.success, 'what was read is done')
  await eventually(() => server.pressure.waiting === 1)
  t.equal((await reader.call(get('a'))).status, Status.success, 'readers are served')
  t.equal((await reader.call(get('b'))).status, Status.keyNotFound)
  t.equal(writer.waiting, 0)
  setPressure('hard')
  setPressure('soft')
  t.equal(server.pressure.waiting, 1)
  setPressure('none')
  const answers = await writer.take(2)
  t.same(
    answers.map(({ opaque, status }) => [opaque, status]),
    [
      [2, 0],
      [3, 0],
    ],
  )
  t.equal(server.pressure.waiting, 0)
})

t.test('a writer that goes away while it waits is forgotten', async t => {
  const { server, bucket, client } = await serve(t)
  const setPressure = ruleDisk(bucket)
  const writer = await client()
  setPressure('soft')
  await writer.call(set('a', '1'))
  await eventually(() => server.pressure.waiting === 1)
  // Its socket is not read from, so that only a failing write could tell: the server closes it.
  await server.close({ graceMs: 1000 })
  t.equal(server.pressure.waiting, 0)
})

t.test('bytes not on disk beyond the hard limit refuse writes', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  bucket.documents.store = () => Status.temporaryFailure
  const answer = await one.call(set('a', '1'))
  t.equal(answer.status, Status.temporaryFailure)
  t.equal(answer.value().toString(), 'Temporary failure')
  Reflect.deleteProperty(bucket.documents, 'store')
  t.equal((await one.call(set('a', '1'))).status, Status.success)
})

/** A bucket that cannot write waits ten seconds before it gives up; here it is one. */
const hasty: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs / 10, callback),
}

t.test('a full map refuses writes at once, and whoever was refused may read', async t => {
  const { server, bucket, client } = await serve(t, {
    clock: hasty,
    bucketSettings: {
      environments: 1,
      mapSizeBytes: 8 * MiB,
      unflushedSoftBytes: MiB,
      unflushedHardBytes: 4 * MiB,
    },
  })
  const writers = await Promise.all(Array.from({ length: 10 }, client))
  const value = Buffer.alloc(100 * KiB, 1)
  const statuses = await Promise.all(
    writers.map(async (writer, index) => {
      writer.send(...Array.from({ length: 20 }, (_, n) => set(`${index}-${n}`, value)))
      return (await writer.take(20)).map(({ status }) => status)
    }),
  )
  t.equal(bucket.failure!.code, 'map-full')
  t.equal(server.pressure.waiting, 0)
  const refused = statuses.flat().filter(status => status === Status.temporaryFailure)
  t.ok(refused.length > 0 && refused.length < 200, `${refused.length} of 200`)
  const [writer] = writers
  t.equal((await writer!.call(set('x', 'y'))).status, Status.temporaryFailure)
  t.equal((await writer!.call(get('0-0'))).valueLength, value.length)
  t.equal((await writer!.call(set('x', 'y'))).status, Status.temporaryFailure)
})
