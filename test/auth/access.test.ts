import { existsSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Privilege } from '../../src/auth/privilege.ts'
import type { Access, AccessOptions } from '../../src/auth/access.ts'
import { makeFirstUser } from '../../src/auth/first-user.ts'
import { LoginThrottle, networkOf } from '../../src/auth/login-throttle.ts'
import { formatRole, parseRole, privilegesOf } from '../../src/auth/role.ts'
import type { UserChanges } from '../../src/auth/user-changes.ts'
import { changeUserFile, readUserFile } from '../../src/auth/user-file.ts'
import { makeUser } from '../../src/auth/user.ts'
import { decodeServerFirst } from '../../protocol/sasl/index.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { eventually } from '../server/harness.ts'
import { accessTo, KeptAudit, removeUsers, writeUsers } from '../support/access.ts'

const origin = { address: '192.0.2.7', via: 'kv' } as const
const alice = { name: 'alice', password: 'secret of alice', roles: ['read[*]', 'write[a]'] }

async function scene(t: Test, options: Partial<AccessOptions> = {}) {
  const userFile = join(t.testdir(), 'users.json')
  await writeUsers(userFile, alice)
  const audit = new KeptAudit()
  return { userFile, audit, access: accessTo(t, { userFile, audit, ...options }) }
}

const challenge = async (access: Access, user: string) => {
  const answer = await access.begin('SCRAM-SHA256', origin).step(Buffer.from(`n,,n=${user},r=x`))
  if (answer.kind !== 'continue') throw new Error(answer.kind)
  return decodeServerFirst(answer.value)!
}

t.test('a role gives its privileges in its bucket', t => {
  const { login, read, write, dcp, stats, seqnos, all } = Privilege
  const rights = (role: string, bucket?: string) => privilegesOf([parseRole(role)!], bucket)
  t.equal(rights('read[a]', 'a'), login | read | seqnos | stats)
  t.equal(rights('read[a]', 'b'), login)
  t.equal(rights('read[a]'), login)
  t.equal(rights('write[*]', 'any'), login | write | seqnos)
  t.equal(rights('dcp[a]', 'a'), login | dcp | seqnos | stats)
  t.equal(rights('backup[a]', 'a'), all & ~Privilege.admin)
  t.equal(rights('system[a]', 'a'), Privilege.login | Privilege.systemRead | Privilege.systemWrite)
  t.equal(rights('monitor', 'a'), login | stats)
  t.equal(rights('admin'), all)
  for (const wrong of [
    'read',
    'admin[a]',
    'read[]',
    'read[a',
    'root',
    '',
    'read[a]b',
    'toString',
  ]) {
    t.equal(parseRole(wrong), undefined, wrong)
  }
  t.equal(formatRole(parseRole('backup[x.y]')!), 'backup[x.y]')
  t.end()
})

t.test('without a file of users, only a daemon on loopback is open', t => {
  const userFile = join(t.testdir(), 'users.json')
  t.ok(accessTo(t, { userFile }).isOpen)
  t.notOk(accessTo(t, { userFile, openWithoutUsers: false }).isOpen)
  t.ok(accessTo(t, { userFile, openWithoutUsers: false, noAuth: true }).isOpen)
  t.end()
})

t.test('users log in with their password and nothing else', async t => {
  const { access, audit } = await scene(t)
  t.notOk(access.isOpen)
  t.equal(access.stranger.privilegesIn('a'), Privilege.none)
  const identity = await access.checkPassword('alice', alice.password, origin)
  t.equal(identity?.name, 'alice')
  t.equal((await access.checkPassword('alice', alice.password, origin))?.name, 'alice', 'again')
  t.equal(await access.checkPassword('alice', 'secret of Alice', origin), undefined)
  t.equal(await access.checkPassword('bob', alice.password, origin), undefined)
  t.same(access.figures, { succeeded: 2, failed: 2, refused: 0 })
  t.equal(audit.of('login').length, 2)
  t.match(audit.of('login-failed'), [{ user: 'alice', address: '192.0.2.7' }, { user: 'bob' }])
  t.notMatch(JSON.stringify(audit.entries), /secret/)
})

t.test('a user who is not there is challenged like one who is, the same each time', async t => {
  const { access, userFile } = await scene(t)
  const one = await challenge(access, 'nobody')
  const again = await challenge(accessTo(t, { userFile }), 'nobody')
  const real = await challenge(access, 'alice')
  t.same(one.salt, again.salt, 'over restarts, too')
  t.notSame(one.salt, (await challenge(access, 'nobody2')).salt)
  t.equal(one.salt.length, real.salt.length)
  t.equal(one.iterations, real.iterations)
  t.not(one.nonce, again.nonce)
})

t.test('the file tells no password and only its owner may read it', async t => {
  const { userFile } = await scene(t)
  const text = readFileSync(userFile, 'utf8')
  t.notMatch(text, /secret of alice/)
  t.equal(statSync(userFile).mode & 0o777, 0o600)
  t.notOk(existsSync(`${userFile}.lock`))
  const { users } = readUserFile(userFile)!
  const salts = Object.values(users.get('alice')!.verifiers).map(({ salt }) => salt.toString('hex'))
  t.equal(new Set(salts).size, 3, 'each mechanism has a salt of its own')
})

t.test('changes of the file hold at once, and tell whose sessions have to end', async t => {
  const clock = new ManualClock()
  const { access, userFile, audit } = await scene(t, { clock })
  const seen: UserChanges[] = []
  access.onChange(changes => seen.push(changes))
  access.reload()
  t.same(seen, [], 'nothing has changed')
  await writeUsers(userFile, { name: 'bob', password: 'b', roles: [] })
  await changeUserFile(userFile, table => {
    const user = { ...table.users.get('alice')!, roles: [parseRole('monitor')!] }
    return { ...table, users: new Map([...table.users, ['alice', user]]) }
  })
  access.reload()
  t.same(seen.pop(), { added: ['bob'], changed: ['alice'], ended: [] })
  t.equal(access.identityOf('alice')!.privilegesIn('a'), Privilege.login | Privilege.stats)
  await writeUsers(userFile, { ...alice, password: 'another' })
  await removeUsers(userFile, 'bob')
  access.reload()
  t.same(seen.pop(), { added: [], changed: [], ended: ['alice', 'bob'] })
  t.equal(await access.checkPassword('alice', alice.password, origin), undefined)
  t.equal((await access.checkPassword('alice', 'another', origin))?.name, 'alice')
  t.same(
    audit.entries.slice(0, 4).map(({ event, user }) => [event, user]),
    [
      ['user-added', 'bob'],
      ['user-changed', 'alice'],
      ['user-changed', 'alice'],
      ['user-removed', 'bob'],
    ],
  )
})

t.test('the file is looked at now and then', async t => {
  const clock = new ManualClock()
  const { access, userFile } = await scene(t, { clock })
  access.watch()
  let changes: UserChanges | undefined
  access.onChange(seen => (changes = seen))
  await writeUsers(userFile, { name: 'carol', password: 'c', roles: [] })
  await eventually(() => {
    clock.advance(1_000)
    return changes !== undefined
  })
  t.same(changes?.added, ['carol'])
})

t.test('a file that is damaged or gone changes nothing, and opens nothing', async t => {
  const { access, userFile } = await scene(t)
  writeFileSync(userFile, '{"format":"holdfast-users",')
  access.reload()
  t.equal((await access.checkPassword('alice', alice.password, origin))?.name, 'alice')
  rmSync(userFile)
  access.reload()
  t.notOk(access.isOpen)
  t.equal((await access.checkPassword('alice', alice.password, origin))?.name, 'alice')
})

t.test('a file that is no list of users is refused without quoting from it', async t => {
  const { userFile } = await scene(t)
  const good = JSON.parse(readFileSync(userFile, 'utf8'))
  const [user] = good.users
  const wrong: [string, RegExp][] = [
    ['"hidden', /it is no JSON$/],
    ['[]', /the file is no object/],
    ['{"format":"other","version":1}', /no holdfast-users of version 1/],
    [JSON.stringify({ ...good, iterations: '1' }), /no number of iterations/],
    [JSON.stringify({ ...good, secret: 'AAAA' }), /secret has not 32 bytes/],
    [JSON.stringify({ ...good, users: [user, user] }), /a user is there twice/],
    [JSON.stringify({ ...good, users: [{ ...user, roles: ['root'] }] }), /"root" is no role/],
    [JSON.stringify({ ...good, users: [{ ...user, scram: {} }] }), /SCRAM-SHA512 is no object/],
    [JSON.stringify({ ...good, users: [{ ...user, name: '' }] }), /lacks its name/],
  ]
  for (const [text, message] of wrong) {
    writeFileSync(userFile, text)
    t.throws(() => accessTo(t, { userFile }), { code: 'users-unusable', message })
  }
})

t.test('those who change users wait for each other, but not for a lock left behind', async t => {
  const userFile = join(t.testdir(), 'users.json')
  const names = ['a', 'b', 'c', 'd', 'e']
  await Promise.all(names.map(name => writeUsers(userFile, { name, password: name, roles: [] })))
  t.same([...readUserFile(userFile)!.users.keys()].sort(), names)
  writeFileSync(`${userFile}.lock`, '')
  const longAgo = Date.now() / 1000 - 60
  utimesSync(`${userFile}.lock`, longAgo, longAgo)
  await removeUsers(userFile, 'a')
  t.equal(readUserFile(userFile)!.users.size, 4)
  await t.rejects(
    changeUserFile(userFile, () => Promise.reject(new Error('stop'))),
    /stop/,
  )
  t.notOk(existsSync(`${userFile}.lock`), 'freed after a failure')
})

t.test('what cannot be a user is refused', async t => {
  const make = (name: string, password: string, roles: string[]) =>
    makeUser(name, password, roles, 1)
  await t.rejects(make('', 'p', []), { code: 'user-name-unusable' })
  await t.rejects(make('a\nb', 'p', []), { code: 'user-name-unusable' })
  await t.rejects(make('x'.repeat(129), 'p', []), { code: 'user-name-unusable' })
  await t.rejects(make('a', '', []), { code: 'password-unusable' })
  await t.rejects(make('a', 'p\0q', []), { code: 'password-unusable' })
  await t.rejects(make('a', 'p', ['read']), { code: 'role-unknown' })
  t.same((await make('a', 'p', ['admin', 'admin'])).roles, [{ name: 'admin', bucket: undefined }])
})

t.test('the first user has a password that is chosen, or made up and told', async t => {
  const folder = t.testdir({ one: {}, two: {} })
  const [one, two] = [join(folder, 'one/users.json'), join(folder, 'two/users.json')]
  t.equal((await makeFirstUser(one, 'chosen')).madeUpPassword, undefined)
  const { name, madeUpPassword } = await makeFirstUser(two, undefined)
  t.match(madeUpPassword, /^[\w-]{24}$/)
  const access = accessTo(t, { userFile: two })
  t.equal(
    (await access.checkPassword(name, madeUpPassword!, origin))?.privilegesIn('x'),
    Privilege.all,
  )
  t.ok(await accessTo(t, { userFile: one }).checkPassword(name, 'chosen', origin))
})

/** Attempts on a clock that stands still until it is moved. */
function throttled() {
  const clock = new ManualClock()
  const throttle = new LoginThrottle(clock)
  const begin = (isRight: boolean, address = 'here', user = 'u') => {
    const attempt = { verdict: undefined as string | undefined }
    throttle
      .attempt(address, user, async () => isRight)
      .then(verdict => (attempt.verdict = verdict))
    return attempt
  }
  /** How long it takes until the attempt has been looked at. */
  const wait = async (attempt: { verdict: string | undefined }) => {
    for (let waitedMs = 0; ; waitedMs += 100) {
      await new Promise(setImmediate)
      if (attempt.verdict !== undefined) return waitedMs
      clock.advance(100)
    }
  }
  return { clock, throttle, begin, wait }
}

t.test('who fails again and again is slowed down, from that address only', async t => {
  const { clock, begin, wait } = throttled()
  const pauses: number[] = []
  for (let failure = 0; failure < 10; failure++) pauses.push(await wait(begin(false)))
  t.same(pauses, [0, 0, 0, 100, 200, 400, 800, 1600, 3200, 5000])
  t.equal(await wait(begin(true, 'elsewhere')), 0)
  t.equal(await wait(begin(true, 'here', 'another')), 0)
  clock.advance(10 * 60_000)
  t.equal(await wait(begin(false)), 0, 'forgotten')
  for (let failure = 0; failure < 3; failure++) await wait(begin(false))
  await wait(begin(true))
  t.equal(await wait(begin(true)), 0, 'with the right password it is over')
})

t.test('many attempts at a time are looked at one after the other', async t => {
  const { begin, wait } = throttled()
  const crowd = Array.from({ length: 40 }, () => begin(false))
  await wait(crowd.at(-1)!)
  const of = (verdict: string) => crowd.filter(attempt => attempt.verdict === verdict).length
  t.equal(of('wrong') + of('refused') + of('refused-first'), 40)
  t.ok(of('wrong') < 12, `${of('wrong')} have been looked at`)
  t.equal(of('refused-first'), 1)
  const pool = Array.from({ length: 40 }, () => begin(true, 'here', 'other'))
  t.equal(await wait(pool.at(-1)!), 0, 'which costs nothing where they are right')
})

t.test('who tries many users from one address is slowed down, too, in bounded memory', async t => {
  const { throttle, begin, wait } = throttled()
  const pauses: number[] = []
  for (let user = 0; user < 23; user++) {
    pauses.push(await wait(begin(false, 'here', `user ${user}`)))
  }
  t.same(pauses.slice(18), [0, 0, 100, 200, 400])
  for (let address = 0; address < 12_000; address++) {
    await throttle.attempt(`address ${address}`, 'u', async () => false)
  }
  t.equal(throttle.size, 10_000)
})

t.test('an IPv6 address counts as its network', t => {
  t.equal(networkOf('::ffff:192.0.2.1'), '192.0.2.1')
  t.equal(networkOf('192.0.2.1'), '192.0.2.1')
  t.equal(networkOf('2001:db8:1:2:3:4:5:6'), '2001:db8:1:2::/64')
  t.equal(networkOf('2001:db8::1'), '2001:db8:0:0::/64')
  t.equal(networkOf('::1'), '0:0:0:0::/64')
  t.equal(networkOf('fe80::1%eth0'), 'fe80:0:0:0::/64')
  t.end()
})
