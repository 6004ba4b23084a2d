import t from 'tap'
import { encodeFeatures, encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { StatusError } from '../../src/errors.ts'
import { eventually, serve } from './harness.ts'

const storeExtras = encodeStoreExtras({ flags: 0, expiry: 0 })
const set = (key: string, value: string | Buffer, opaque = 0) => ({
  opcode: Opcode.set,
  key,
  value,
  extras: storeExtras,
  opaque,
})
const get = (key: string, opaque = 0) => ({ opcode: Opcode.get, key, opaque })

/** From now on the disk takes what it is given only when the test says so. */
function holdDisk(bucket: Bucket): (() => void)[] {
  const waiting: (() => void)[] = []
  bucket.afterDurable = done => void waiting.push(done)
  return waiting
}

t.test('answers come in the order of their requests, whichever is ready first', async t => {
  const { bucket, client } = await serve(t)
  const waiting = holdDisk(bucket)
  const framing = encodeRequestFraming({ durabilityLevel: 2 })
  const one = await client()
  one.send(
    set('a', 'plain', 1),
    { ...set('b', 'durable', 2), framing },
    get('b', 3),
    { ...set('c', 'durable', 4), framing },
    { opcode: Opcode.noop, opaque: 5 },
  )
  t.equal((await one.next()).opaque, 1, 'what is before the first that waits is not held back')
  await eventually(() => waiting.length === 2)
  t.equal(one.waiting, 0)
  const other = await client()
  const read = await other.call(get('b'))
  t.equal(read.value().toString(), 'durable', 'the writes are made all the same')
  waiting[1]!()
  waiting[0]!()
  const answers = await one.take(4)
  t.same(
    answers.map(({ opaque, status }) => [opaque, status]),
    [
      [2, 0],
      [3, 0],
      [4, 0],
      [5, 0],
    ],
  )
})

t.test('a barrier waits for what is before it, and what is after waits for it', async t => {
  const { bucket, client } = await serve(t)
  const waiting = holdDisk(bucket)
  const one = await client()
  const framing = encodeRequestFraming({ durabilityLevel: 3 })
  one.send(
    { ...set('a', '1', 1), framing },
    { opcode: Opcode.flush, opaque: 2 },
    get('a', 3),
    set('a', '2', 4),
    get('a', 5),
    { ...get('a', 6), framing: encodeRequestFraming({ barrier: true }) },
  )
  await eventually(() => waiting.length === 1)
  waiting[0]!()
  const answers = await one.take(6)
  t.same(
    answers.map(({ opaque, status }) => [opaque, status]),
    [
      [1, Status.success],
      [2, Status.success],
      [3, Status.keyNotFound],
      [4, Status.success],
      [5, Status.success],
      [6, Status.success],
    ],
  )
})

t.test('requests cut anywhere are answered the same', async t => {
  const { client } = await serve(t)
  const one = await client()
  const bytes = Buffer.concat([set('k', 'v'.repeat(3000)), get('k')].map(encodeRequest))
  for (const size of [1, 7, 24, 100]) {
    for (let at = 0; at < bytes.length; at += size) {
      one.socket.write(bytes.subarray(at, at + size))
      await new Promise(resolve => setImmediate(resolve))
    }
    const [stored, read] = await one.take(2)
    t.equal(stored!.status, Status.success)
    t.equal(read!.valueLength, 3000)
  }
})

t.test('an unknown opcode is answered, and the connection lives', async t => {
  const { client } = await serve(t)
  const one = await client()
  for (const opcode of [0x25, 0x43, 0xdf, 0xf3, 0xff]) {
    const answer = await one.call({ opcode, opaque: 0xdeadbeef, key: 'k', extras: Buffer.alloc(3) })
    t.equal(answer.status, Status.unknownCommand)
    t.equal(answer.opaque, 0xdeadbeef)
    t.equal(answer.opcode, opcode)
  }
  t.equal((await one.call({ opcode: Opcode.noop })).status, Status.success)
})

t.test('malformed requests are refused, and the connection lives', async t => {
  const { server, client } = await serve(t)
  const one = await client()
  const refused = [
    { opcode: Opcode.get },
    { opcode: Opcode.get, key: 'k', extras: Buffer.alloc(4) },
    { opcode: Opcode.get, key: 'k', value: 'v' },
    { opcode: Opcode.set, key: 'k', value: 'v' },
    { opcode: Opcode.noop, key: 'k' },
    { opcode: Opcode.increment, key: 'k', extras: Buffer.alloc(8) },
    { opcode: Opcode.getClusterConfig, cas: 5n },
    { ...set('k', 'v'), datatype: 2 },
    { ...set('k', 'v'), datatype: 0x40 },
    { ...get('k'), framing: encodeRequestFraming({ durabilityLevel: 1 }) },
    { ...set('k', 'v'), framing: Buffer.of(0x12, 1) },
  ]
  for (const [index, request] of refused.entries()) {
    const answer = await one.call({ ...request, opaque: 77 })
    t.equal(answer.status, Status.invalidArguments, `request ${index}`)
    t.equal(answer.opaque, 77)
    t.equal(answer.value().toString(), 'Invalid arguments')
  }
  const unknown = await one.call({ ...set('k', 'v'), framing: Buffer.of(0xe0) })
  t.equal(unknown.status, Status.unknownFrameInfo)
  const level = await one.call({ ...set('k', 'v'), framing: Buffer.of(0x11, 9) })
  t.equal(level.status, Status.durabilityInvalidLevel)
  // Lengths that cannot be: the body is skipped.
  const contradiction = encodeRequest({ opcode: Opcode.get, key: 'key', opaque: 5 })
  contradiction.writeUInt16BE(200, 2)
  one.socket.write(contradiction)
  const answer = await one.next()
  t.equal(answer.status, Status.invalidArguments)
  t.equal(answer.opaque, 5)
  t.equal((await one.call({ opcode: Opcode.noop })).status, Status.success)
  t.equal(server.counters.framesRefused, 1)
})

t.test('nobody acts as another user, nor with more privileges than his own', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call({ opcode: Opcode.hello, value: encodeFeatures([Feature.json, Feature.xerror]) })
  const refused = [
    { impersonate: 'x' },
    { impersonate: '^external' },
    { impersonate: 'x', impersonateExtraPrivileges: ['Read'] },
    { impersonateExtraPrivileges: ['Read'] },
    { impersonateTokenAuthId: 1 },
  ]
  for (const framing of refused) {
    const answer = await one.call({ ...set('k', 'v'), framing: encodeRequestFraming(framing) })
    t.equal(answer.status, Status.accessDenied, JSON.stringify(framing))
    t.match(answer.value().toString(), /nobody may act as another user/)
  }
  // A token of one byte.
  const malformed = await one.call({ ...get('k'), framing: Buffer.of(0x71, 1) })
  t.equal(malformed.status, Status.invalidArguments)
  t.equal((await one.call(get('k'))).status, Status.keyNotFound, 'it lives, and nothing was stored')
})

t.test('keys, values and frames beyond their limits are too large; all goes on', async t => {
  const { client } = await serve(t)
  const one = await client()
  t.equal((await one.call(set('k'.repeat(250), 'v'))).status, Status.success)
  t.equal((await one.call(set('k'.repeat(251), 'v'))).status, Status.tooLarge)
  t.equal((await one.call(get('k'.repeat(251)))).status, Status.tooLarge)
  const most = Buffer.alloc(2 ** 20, 1)
  t.equal((await one.call(set('large', most))).status, Status.success)
  t.equal((await one.call(get('large'))).valueLength, most.length)
  t.equal((await one.call(set('large', Buffer.alloc(2 ** 20 + 1)))).status, Status.tooLarge)
  one.send(set('large', Buffer.alloc(3 * 2 ** 20), 9), get('large', 10))
  const [refused, read] = await one.take(2)
  t.equal(refused!.status, Status.tooLarge)
  t.equal(refused!.opaque, 9)
  t.equal(read!.opaque, 10)
  t.equal(read!.valueLength, most.length, 'what was there is still there')
  // So large that it is not even skipped.
  const header = encodeRequest(set('k', 'v', 11))
  header.writeUInt32BE(0x7fffffff, 8)
  one.socket.write(header)
  const last = await one.next()
  t.equal(last.status, Status.tooLarge)
  t.equal(last.opaque, 11)
  await one.closed()
})

t.test('what is no frame closes the connection, after answers that were due', async t => {
  const { server, client } = await serve(t)
  const one = await client()
  one.socket.write(
    Buffer.concat([encodeRequest({ opcode: Opcode.noop, opaque: 3 }), Buffer.from('get a\r\n')]),
  )
  t.equal((await one.next()).opaque, 3)
  await one.closed()
  const two = await client()
  // A magic that only servers use towards clients.
  const request = encodeRequest({ opcode: Opcode.noop })
  request[0] = 0x82
  two.socket.write(request)
  await two.closed()
  await eventually(() => server.connections === 0)
})

t.test('responses from a client are not requests', async t => {
  const { client } = await serve(t)
  const one = await client()
  const response = encodeRequest({ opcode: Opcode.get, key: 'k' })
  response[0] = 0x81
  one.socket.write(response)
  t.equal((await one.call({ opcode: Opcode.noop, opaque: 8 })).opaque, 8)
})

t.test('quit is answered and closes, quitq just closes', async t => {
  const { server, client } = await serve(t)
  const one = await client()
  one.send({ opcode: Opcode.quit, opaque: 4 }, { opcode: Opcode.noop })
  t.equal((await one.next()).opaque, 4)
  await one.closed()
  t.equal(one.waiting, 0)
  const two = await client()
  two.send({ opcode: Opcode.quitq })
  await two.closed()
  t.equal(two.waiting, 0)
  await eventually(() => server.connections === 0)
})

t.test('a client that says no more still gets its answers', async t => {
  const { bucket, client } = await serve(t)
  const waiting = holdDisk(bucket)
  const one = await client()
  const framing = encodeRequestFraming({ durabilityLevel: 2 })
  one.socket.end(encodeRequest({ ...set('a', '1', 6), framing }))
  await eventually(() => waiting.length === 1)
  waiting[0]!()
  t.equal((await one.next()).opaque, 6)
  await one.closed()
})

t.test('a failing command is an internal error, one with a status is that status', async t => {
  const { bucket, client } = await serve(t)
  const one = await client()
  bucket.documents.store = () => {
    throw new Error('surprise')
  }
  t.equal((await one.call(set('k', 'v'))).status, Status.internalError)
  bucket.documents.store = () => {
    throw new StatusError(Status.busy, 'too much to do')
  }
  t.equal((await one.call(set('k', 'v'))).status, Status.busy)
  Reflect.deleteProperty(bucket.documents, 'store')
  t.equal((await one.call(set('k', 'v'))).status, Status.success)
  bucket.compact = () =>
    Promise.reject(new StatusError(Status.temporaryFailure, 'the disk is full'))
  const compact = { opcode: Opcode.compactDb, extras: Buffer.alloc(24) }
  t.equal((await one.call(compact)).status, Status.temporaryFailure)
})

t.test('connections beyond the limit are closed at once', async t => {
  const { server, client } = await serve(t, { settings: { connectionsMax: 2 } })
  const [one, two] = [await client(), await client()]
  await one.call({ opcode: Opcode.noop })
  await two.call({ opcode: Opcode.noop })
  const three = await client()
  await three.closed()
  t.equal(server.counters.connectionsRefused, 1)
  one.socket.destroy()
  await eventually(() => server.connections === 1)
  const four = await client()
  t.equal((await four.call({ opcode: Opcode.noop })).status, Status.success)
})

t.test('closing answers what was read, ends the streams, and then the connections', async t => {
  const { server, bucket, client, dcp } = await serve(t)
  const waiting = holdDisk(bucket)
  const one = await client()
  const framing = encodeRequestFraming({ durabilityLevel: 2 })
  one.send({ ...set('a', '1', 1), framing }, get('a', 2))
  await eventually(() => waiting.length === 1)
  const closed = server.close({ graceMs: 10_000 })
  one.send(get('a', 3))
  t.equal(dcp.closed, false, 'streams go on until what was read is answered')
  waiting[0]!()
  const answers = await one.take(2)
  t.same(
    answers.map(({ opaque }) => opaque),
    [1, 2],
  )
  await closed
  t.equal(dcp.closed, true)
  await one.closed()
  t.equal(one.waiting, 0)
  await t.rejects(client(), 'nobody listens any more')
})

t.test('closing does not wait for ever for clients that do not take their answers', async t => {
  const { server, client } = await serve(t)
  const one = await client()
  await one.call(set('k', Buffer.alloc(2 ** 20)))
  one.socket.pause()
  one.send(...Array.from({ length: 16 }, () => get('k')))
  await eventually(() => server.budget.totalBytes > 0)
  await server.close({ graceMs: 20 })
  t.equal(server.connections, 0)
  t.equal(server.budget.totalBytes, 0)
})
