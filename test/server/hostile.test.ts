/** What clients do who have no business here, or mean no good. */
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { saslMechanisms } from '../../protocol/sasl/index.ts'
import { Status } from '../../protocol/status.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { KeptAudit, type TestUser } from '../support/access.ts'
import { logIn, plainLogin } from '../support/log-in.ts'
import { serve, within, type ServedOptions } from './harness.ts'

const password = 'secret'
const users: TestUser[] = [
  { name: 'admin', password, roles: ['admin'] },
  { name: 'streamer', password, roles: ['dcp[default]'] },
]
const get = { opcode: Opcode.get, key: 'k' }
const noop = { opcode: Opcode.noop }

function serveUsers(t: Test, options: ServedOptions = {}) {
  return serve(t, { users, ...options })
}

t.setTimeout(3 * 60_000)

t.test('who does not log in is closed, however much it chats, and who has is not', async t => {
  const { client, server } = await serveUsers(t, { settings: { loginTimeoutSeconds: 0.3 } })
  const [user, silent, chatting, failing] = await Promise.all([1, 2, 3, 4].map(() => client()))
  await logIn(user!, 'admin', password)
  const chat = setInterval(() => chatting!.send(noop), 20)
  t.teardown(() => clearInterval(chat))
  t.equal((await failing!.call(plainLogin('admin', 'wrong'))).status, Status.authError)
  await Promise.all([silent!.closed(), chatting!.closed(), failing!.closed()])
  t.equal((await user!.call(noop)).status, Status.success)
  t.equal(server.counters.connectionsLate, 3)
  t.equal(await logIn(user!, 'admin', 'wrong'), Status.authError)
  await user!.closed()
})

t.test('half a request is not waited for, whether or not one has to log in', async t => {
  for (const known of [undefined, users]) {
    const settings = { loginTimeoutSeconds: 0.3 }
    const { client } = await serve(t, { settings, ...(known && { users: known }) })
    const [idle, half, body] = await Promise.all([client(), client(), client()])
    if (known !== undefined) {
      for (const one of [idle!, half!, body!]) await logIn(one, 'admin', password)
    }
    const request = encodeRequest({ ...get, key: 'a longer key' })
    half!.socket.write(request.subarray(0, 10))
    body!.socket.write(request.subarray(0, 30))
    await Promise.all([half!.closed(), body!.closed()])
    t.equal((await idle!.call(noop)).status, Status.success)
  }
})

t.test('a stranger cannot make the server keep much', async t => {
  const { client, server } = await serveUsers(t)
  const one = await client()
  const value = Buffer.alloc(100_000, 'v')
  const set = { opcode: Opcode.set, key: 'k', value, extras: Buffer.alloc(8) }
  one.socket.write(encodeRequest(set).subarray(0, 90_000))
  const two = await client()
  t.equal((await two.call(set)).status, Status.tooLarge)
  t.equal((await two.call(noop)).status, Status.success, 'the connection lives')
  t.equal(server.intakeBudget.totalBytes, 0)
  two.send(plainLogin('admin', password), set, { opcode: Opcode.get, key: 'k' })
  const [, stored, read] = await two.take(3)
  t.equal(stored!.status, Status.success, 'as soon as it is none')
  t.equal(read!.valueLength, value.length)
})

t.test('whatever is sent to log in, nobody is in by it and the connection lives', async t => {
  // Time passes at once where failures are slowed down.
  const clock: Clock = { ...systemClock, after: (_, callback) => systemClock.after(0, callback) }
  const { client } = await serveUsers(t, { access: { clock } })
  const one = await client()
  const mechanism = fc.oneof(fc.constantFrom(...saslMechanisms), fc.string({ minLength: 1 }))
  const messages = [
    'n,,n=admin,r=nonce',
    'c=biws,r=nonce,p=AAAA',
    '\0admin\0secre',
    '\0admin\0secret\0',
    'admin\0streamer\0secret',
    'n,a=admin,n=streamer,r=x',
  ]
  const value = fc.oneof(
    fc.constantFrom(...messages).map(text => Buffer.from(text)),
    fc.uint8Array({ maxLength: 200 }).map(bytes => Buffer.from(bytes)),
  )
  const opcode = fc.constantFrom(Opcode.saslAuth, Opcode.saslStep)
  const request = fc.record({ opcode, key: mechanism, value })
  await fc.assert(
    fc.asyncProperty(fc.array(request, { minLength: 1, maxLength: 6 }), async requests => {
      one.send(...requests, noop, get)
      const answers = await one.take(requests.length + 2)
      const expected: number[] = [Status.authError, Status.authContinue]
      for (const answer of answers.slice(0, -2)) {
        if (!expected.includes(answer.status)) throw new Error(`status ${answer.status}`)
      }
      return answers.at(-2)!.status === 0 && answers.at(-1)!.status === Status.accessDenied
    }),
    { numRuns: 200 },
  )
})

t.test('guessing is slowed down, is counted, and does not fill the audit log', async t => {
  const audit = new KeptAudit()
  const { client, access } = await serveUsers(t, { audit })
  const guessers = await Promise.all(Array.from({ length: 40 }, () => client()))
  for (const guesser of guessers) guesser.send(plainLogin('admin', 'guess'))
  await within(30_000, async () => {
    for (const guesser of guessers) await guesser.next()
  })
  t.ok(access.figures.failed < 12)
  t.equal(access.figures.failed + access.figures.refused, 40)
  t.equal(audit.of('logins-slowed').length, 1)
  t.ok(audit.entries.length < 25)
  const other = await client()
  t.equal(await logIn(other, 'streamer', password), Status.success, 'another user is not slowed')
})

t.test('a stream of a bucket that is not for its user is refused', async t => {
  const { client, buckets, dcp } = await serveUsers(t)
  await buckets.create('other')
  const one = await client()
  await logIn(one, 'streamer', password)
  const open = {
    opcode: Opcode.dcpOpen,
    key: 'name',
    extras: Buffer.from('0000000000000001', 'hex'),
  }
  const select = { opcode: Opcode.selectBucket, key: 'other' }
  t.equal((await one.call(select)).status, Status.accessDenied)
  t.equal((await one.call({ ...select, key: '@no bucket@' })).status, Status.success)
  t.equal((await one.call(open)).status, Status.accessDenied, 'in no bucket')
  t.same(dcp.opened, [])
  await one.call({ ...select, key: 'default' })
  dcp.producer = { disconnected() {} }
  t.equal((await one.call(open)).status, Status.success)
  t.match(dcp.opened, [{ user: 'streamer', bucket: buckets.get('default') }])
  t.equal((await one.call({ ...select, key: 'other' })).status, Status.accessDenied)
  const again = await one.call(plainLogin('admin', password))
  t.equal(again.status, Status.invalidArguments, 'a connection for streams keeps its user')
})
