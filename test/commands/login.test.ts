import t, { type Test } from 'tap'
import { encodeCreateBucketValue, encodeSetVbucketExtras } from '../../protocol/commands/index.ts'
import { Opcode, opcodeName } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import { saslMechanisms, scramMechanisms } from '../../protocol/sasl/index.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { changeUserFile } from '../../src/auth/user-file.ts'
import { parseRoles } from '../../src/auth/user.ts'
import { Privilege, type Command } from '../../src/commands/command.ts'
import { commandRows, commands } from '../../src/commands/table.ts'
import { serve, type TestClient } from '../server/harness.ts'
import { KeptAudit, removeUsers, writeUsers, type TestUser } from '../support/access.ts'
import { logIn, plainLogin } from '../support/log-in.ts'

const password = 'pass,word=ü'
const user = (name: string, ...roles: string[]): TestUser => ({ name, password, roles })
const get = { opcode: Opcode.get, key: 'k' }
const set = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8) }
const select = (bucket: string) => ({ opcode: Opcode.selectBucket, key: bucket })

async function scene(t: Test, ...users: TestUser[]) {
  const audit = new KeptAudit()
  const served = await serve(t, { users: [user('admin', 'admin'), ...users], audit })
  await served.buckets.create('other')
  const as = async (name: string, bucket?: string) => {
    const client = await served.client()
    t.equal(await logIn(client, name, password), Status.success)
    if (bucket !== undefined) t.equal((await client.call(select(bucket))).status, Status.success)
    return client
  }
  return { ...served, audit, as }
}

/** A request whose shape is right, so that rights decide. */
function requestOf(command: Command): RequestFields {
  return {
    opcode: command.opcode,
    extras: Buffer.alloc(command.extrasUsual),
    ...(command.keyMin > 0 ? { key: 'k' } : {}),
    ...(command.valueMin > 0 ? { value: Buffer.alloc(8) } : {}),
  }
}

const shapes = commandRows.map(row => commands[row.opcode]!)

t.test('before logging in nothing is done but what leads to it', async t => {
  const { client } = await scene(t)
  const allowed = new Set<number>([
    Opcode.hello,
    Opcode.saslListMechs,
    Opcode.saslAuth,
    Opcode.saslStep,
    Opcode.getErrorMap,
    Opcode.noop,
    Opcode.version,
    Opcode.quit,
    Opcode.quitq,
  ])
  const one = await client()
  for (let opcode = 0; opcode < 256; opcode++) {
    if (opcode === Opcode.quit || opcode === Opcode.quitq) continue
    const command = commands[opcode]
    const request = command === undefined ? { opcode } : requestOf(command)
    const { status } = await one.call(request)
    if (command === undefined) t.equal(status, Status.unknownCommand, opcodeName(opcode))
    else if (!allowed.has(opcode)) t.equal(status, Status.accessDenied, opcodeName(opcode))
    else t.not(status, Status.accessDenied, opcodeName(opcode))
  }
})

t.test('each role is refused what it does not include', async t => {
  const roles = ['admin', 'monitor', 'read[other]', 'write[other]', 'dcp[other]', 'backup[other]']
  const { as, audit } = await scene(t, ...roles.map(role => user(role, role)))
  const reading =
    'get getq getk getkq getReplica getRandomKey getMeta getqMeta observe rangeScanCreate ' +
    'rangeScanContinue rangeScanCancel getKeys subdocGet subdocExists subdocGetCount ' +
    'subdocMultiLookup'
  const both =
    'increment incrementq decrement decrementq gat gatq gatk gatkq getLocked getVbucket ' +
    'getFailoverLog getAllVbSeqnos observeSeqno seqnoPersistence subdocCounter ' +
    'getCollectionsManifest getCollectionId getScopeId'
  const writing =
    'set setq add addq replace replaceq delete deleteq append appendq prepend prependq touch ' +
    'unlockKey subdocDictAdd subdocDictUpsert subdocDelete subdocReplace subdocArrayPushLast ' +
    'subdocArrayPushFirst subdocArrayInsert subdocArrayAddUnique subdocReplaceBodyWithXattr ' +
    'subdocMultiMutation'
  const meta =
    'setWithMeta setqWithMeta addWithMeta addqWithMeta delWithMeta delqWithMeta returnMeta'
  const streaming =
    'dcpOpen dcpControl dcpStreamRequest dcpCloseStream dcpBufferAcknowledgement dcpNoop ' +
    'dcpGetFailoverLog'
  const seqnos =
    'getVbucket getFailoverLog getAllVbSeqnos observeSeqno seqnoPersistence ' +
    'getCollectionsManifest getCollectionId getScopeId'
  const free =
    'hello saslListMechs saslAuth saslStep getErrorMap noop version quit quitq verbosity ' +
    'selectBucket listBuckets getClusterConfig'
  const stats = 'stat'
  const may: Record<string, string> = {
    admin: shapes.map(({ name }) => name).join(' '),
    monitor: `${free} ${stats}`,
    'read[other]': `${free} ${stats} ${reading} ${seqnos}`,
    'write[other]': `${free} ${writing} ${seqnos}`,
    'dcp[other]': `${free} ${stats} ${streaming} ${seqnos}`,
    'backup[other]': `${free} ${stats} ${reading} ${both} ${writing} ${meta} ${streaming}`,
  }
  for (const role of roles) {
    const allowed = new Set(may[role]!.split(' '))
    const wrong: string[] = []
    const client = await as(role, role === 'monitor' ? '@no bucket@' : 'other')
    // What would end the login or leave the bucket is tried elsewhere; admins would leave nothing.
    for (const command of shapes) {
      if (/^(sasl|quit|select|hello)/.test(command.name)) continue
      if (role === 'admin' && command.privilege === Privilege.admin) continue
      const { name } = command
      const status = await statusOf(client, command)
      const isRefused = status === Status.accessDenied
      if (isRefused === allowed.has(name)) wrong.push(`${name} ${status}`)
    }
    t.same(wrong, [], role)
  }
  const refused = audit.of('refused').filter(entry => entry['user'] === 'read[other]')
  t.ok(refused.some(entry => entry['command'] === 'set' && entry['bucket'] === 'other'))
  t.equal(new Set(refused.map(entry => entry['command'])).size, refused.length, 'each once')
})

/** Of quiet commands, too: what follows them tells that they had nothing to say. */
async function statusOf(client: TestClient, command: Command): Promise<number> {
  client.send(requestOf(command), { opcode: Opcode.noop, opaque: 99 })
  let status = -1
  for (;;) {
    const answer = await client.next()
    if (answer.opaque === 99) return status
    status = answer.status
  }
}

t.test('users log in by each mechanism, whatever is in their password and name', async t => {
  const { client } = await scene(t, user('a,b=c ü', 'read[default]'))
  for (const mechanism of scramMechanisms) {
    const one = await client()
    t.equal(await logIn(one, 'a,b=c ü', password, mechanism), Status.success, mechanism)
    t.equal((await one.call(get)).status, Status.keyNotFound, 'in the default bucket')
    t.equal((await one.call(set)).status, Status.accessDenied)
    t.equal(await logIn(one, 'a,b=c ü', 'wrong', mechanism), Status.authError)
    t.equal((await one.call(get)).status, Status.accessDenied, 'logged in no longer')
  }
  const one = await client()
  t.equal((await one.call(plainLogin('a,b=c ü', password))).status, Status.success)
  t.equal((await one.call(get)).status, Status.keyNotFound)
  t.equal((await one.call(plainLogin('other', password))).status, Status.authError)
  t.equal((await one.call(get)).status, Status.accessDenied)
})

t.test('what is sent behind a login is done after it', async t => {
  const { client } = await scene(t)
  const one = await client()
  one.send(
    { opcode: Opcode.saslListMechs },
    plainLogin('admin', password),
    select('other'),
    set,
    get,
  )
  const answers = await one.take(5)
  t.same(
    answers.map(({ opcode, status }) => [opcode, status]),
    [Opcode.saslListMechs, Opcode.saslAuth, Opcode.selectBucket, Opcode.set, Opcode.get].map(
      opcode => [opcode, Status.success],
    ),
  )
  t.equal(answers[0]!.value().toString(), saslMechanisms.join(' '))
})

t.test('only configured mechanisms are offered and taken', async t => {
  const settings = { saslMechanisms: ['SCRAM-SHA256'] as const }
  const { client } = await serve(t, { users: [user('admin', 'admin')], settings })
  const one = await client()
  const list = await one.call({ opcode: Opcode.saslListMechs })
  t.equal(list.value().toString(), 'SCRAM-SHA256')
  t.equal((await one.call(plainLogin('admin', password))).status, Status.authError)
  t.equal(await logIn(one, 'admin', password, 'SCRAM-SHA512'), Status.authError)
  t.equal(await logIn(one, 'admin', password, 'SCRAM-SHA256'), Status.success)
})

t.test('buckets that a user may not use are not selected, and not listed', async t => {
  const { as } = await scene(t, user('reader', 'read[other]'), user('nothing'))
  const reader = await as('reader')
  t.equal((await reader.call(get)).status, Status.accessDenied, 'not in the default bucket')
  const refused = await reader.call(select('default'))
  const missing = await reader.call(select('missing'))
  t.same([refused.status, missing.status], [Status.accessDenied, Status.accessDenied])
  t.equal((await reader.call({ opcode: Opcode.listBuckets })).value().toString(), 'other')
  await reader.call(select('other'))
  t.equal((await reader.call(get)).status, Status.keyNotFound)
  const nothing = await as('nothing')
  t.equal((await nothing.call(select('other'))).status, Status.accessDenied)
  t.equal((await nothing.call({ opcode: Opcode.listBuckets })).value().toString(), '')
})

t.test(
  'changed roles hold at once; a user who is gone, or has a new password, is cut off',
  async t => {
    const { as, access, userFile } = await scene(
      t,
      user('one', 'read[other]', 'write[other]'),
      user('two', 'read[other]'),
      user('three', 'read[other]'),
      user('four', 'read[other]'),
    )
    const clients = [
      await as('one', 'other'),
      await as('two', 'other'),
      await as('three', 'other'),
      await as('four', 'other'),
    ] as const
    await writeUsers(userFile, { ...user('two', 'read[other]'), password: 'new' })
    await removeUsers(userFile, 'three')
    await changeUserFile(userFile, table => {
      const users = new Map(table.users)
      users.set('one', { ...users.get('one')!, roles: parseRoles(['read[other]']) })
      users.set('four', { ...users.get('four')!, roles: parseRoles(['read[default]']) })
      return { ...table, users }
    })
    access.reload()
    await Promise.all([clients[1].closed(), clients[2].closed(), clients[3].closed()])
    t.equal((await clients[0].call(get)).status, Status.keyNotFound)
    t.equal((await clients[0].call(set)).status, Status.accessDenied)
  },
)

t.test('the first user ends what was open to everybody', async t => {
  const { client, access, userFile } = await serve(t)
  const one = await client()
  t.equal((await one.call(set)).status, Status.success)
  await writeUsers(userFile, user('admin', 'admin'))
  access.reload()
  await one.closed()
  const two = await client()
  t.equal((await two.call(get)).status, Status.accessDenied)
  t.equal(await logIn(two, 'admin', password), Status.success)
  t.equal((await two.call(get)).value().toString(), 'v')
})

t.test('who makes, flushes or deletes a bucket is written down', async t => {
  const { as, audit } = await scene(t)
  const admin = await as('admin', 'other')
  const value = encodeCreateBucketValue({ module: 'ep.so', configuration: '' })
  await admin.call({ opcode: Opcode.createBucket, key: 'third', value })
  await admin.call({ opcode: Opcode.flush })
  await admin.call({ opcode: Opcode.deleteBucket, key: 'third' })
  t.match(
    audit.entries.filter(({ event }) => event.startsWith('bucket')),
    [
      { event: 'bucket-created', bucket: 'third', user: 'admin', address: '127.0.0.1', via: 'kv' },
      { event: 'bucket-flushed', bucket: 'other' },
      { event: 'bucket-deleted', bucket: 'third' },
    ],
  )
  t.match(audit.of('login'), [{ user: 'admin' }])
})

t.test('who changes or compacts vbuckets is written down', async t => {
  const { as, audit } = await scene(t)
  const admin = await as('admin', 'other')
  const vbid = 3
  const state = VbucketState.replica
  await admin.call({ opcode: Opcode.setVbucket, vbid, extras: encodeSetVbucketExtras(state) })
  await admin.call({ opcode: Opcode.compactDb, vbid, extras: Buffer.alloc(24) })
  await admin.call({ opcode: Opcode.delVbucket, vbid })
  t.equal((await admin.call({ opcode: Opcode.delVbucket, vbid })).status, Status.notMyVbucket)
  const who = { bucket: 'other', vbid, user: 'admin', address: '127.0.0.1', via: 'kv' }
  t.match(
    audit.entries.filter(({ event }) => event.startsWith('vbucket')),
    [
      { event: 'vbucket-set', state, ...who },
      { event: 'vbucket-compacted', ...who },
      { event: 'vbucket-deleted', ...who },
    ],
  )
  t.equal(audit.of('vbucket-deleted').length, 1, 'what is refused has not been done')
})
