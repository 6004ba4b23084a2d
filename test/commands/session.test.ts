import t from 'tap'
import {
  decodeFeatures,
  encodeClusterConfigVersion,
  encodeCreateBucketValue,
  encodeErrorMapVersion,
  encodeFeatures,
  encodeSetVbucketExtras,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { statusTable } from '../../protocol/status-table.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Frame } from '../../protocol/frame.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { DelayedFlushes } from '../../src/commands/flush.ts'
import { silentLog } from '../../src/log.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { commandRows, commands } from '../../src/commands/table.ts'
import { serve } from '../server/harness.ts'

const hello = (...features: number[]) => ({
  opcode: Opcode.hello,
  key: '{"a":"test/1","i":"00/01"}',
  value: encodeFeatures(features),
})
const json = (frame: Frame) => JSON.parse(frame.value().toString())
const get = (key: string, vbid = 0) => ({ opcode: Opcode.get, key, vbid })

t.test('every opcode has one row at most, with one way to run', t => {
  const opcodes = commandRows.map(row => row.opcode)
  t.equal(new Set(opcodes).size, opcodes.length)
  for (const row of commandRows) {
    t.equal(commands[row.opcode]!.opcode, row.opcode)
    t.ok((row.run === undefined) !== (row.runLater === undefined), commands[row.opcode]!.name)
  }
  t.end()
})

t.test('hello grants what is asked for and there, and forgets what was before', async t => {
  const { client } = await serve(t)
  const one = await client()
  const { tls, xerror, json, snappy, collections, altRequest, mutationSeqno } = Feature
  const granted = await one.call(
    hello(xerror, tls, json, xerror, snappy, collections, altRequest, 0x7777),
  )
  t.equal(granted.status, Status.success)
  t.same(decodeFeatures(granted), [xerror, json, snappy, collections, altRequest])
  t.same(decodeFeatures(await one.call(hello(mutationSeqno))), [mutationSeqno])
  t.equal((await one.call(get('none'))).value().toString(), 'Not found', 'xerror is off again')
  t.same(decodeFeatures(await one.call(hello())), [])
  const odd = { opcode: Opcode.hello, value: Buffer.alloc(3) }
  t.equal((await one.call(odd)).status, Status.invalidArguments)
})

t.test('with xerror, errors have a reason and a reference, or no body', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call(hello(Feature.xerror))
  const miss = await one.call(get('none'))
  t.equal(miss.status, Status.keyNotFound)
  t.equal(miss.bodyLength, 0)
  const refused = await one.call({ opcode: Opcode.set, key: 'k' })
  t.equal(refused.status, Status.invalidArguments)
  t.equal(refused.datatype, Datatype.json)
  const { error } = json(refused)
  t.match(error.context, /8 bytes of extras/)
  t.match(error.ref, /^[0-9a-f-]{36}$/)
  t.equal((await one.call(get('none'))).bodyLength, 0, 'a reason is given once')
  const later = await one.call({ opcode: Opcode.createBucket, key: 'a/b', value: 'ep.so' })
  t.equal(later.status, Status.invalidArguments)
  t.match(json(later).error.context, /a\/b/)
})

t.test('where nobody has to log in, every login succeeds', async t => {
  const { client } = await serve(t)
  const one = await client()
  const mechanisms = await one.call({ opcode: Opcode.saslListMechs })
  t.equal(mechanisms.value().toString(), 'SCRAM-SHA512 SCRAM-SHA256 SCRAM-SHA1 PLAIN')
  const auth = { opcode: Opcode.saslAuth, key: 'PLAIN' }
  t.equal((await one.call({ ...auth, value: '\0user\0password' })).status, Status.success)
  t.equal((await one.call({ ...auth, value: 'nonsense' })).status, Status.authError)
  t.equal((await one.call({ ...auth, key: 'SCRAM-SHA1', value: 'n,,' })).status, Status.authError)
  t.equal((await one.call({ ...auth, key: 'GSSAPI', value: 'n,,' })).status, Status.authError)
  const first = { ...auth, key: 'SCRAM-SHA512', value: 'n,,n=user,r=0x1d 0x71' }
  const challenge = await one.call(first)
  t.equal(challenge.status, Status.authContinue)
  const nonce = /^r=([^,]+),/.exec(challenge.value().toString())![1]
  const final = { opcode: Opcode.saslStep, key: 'SCRAM-SHA512', value: `c=biws,r=${nonce},p=AAAA` }
  t.match((await one.call(final)).value().toString(), /^v=/)
  t.equal((await one.call({ opcode: Opcode.saslStep, key: 'PLAIN' })).status, Status.authError)
  const stored = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8) }
  t.equal((await one.call(stored)).status, Status.success, 'in the default bucket')
})

t.test('version, verbosity and noop', async t => {
  const { client } = await serve(t)
  const one = await client()
  t.match((await one.call({ opcode: Opcode.version })).value().toString(), /^\d+\.\d+\.\d+/)
  const verbosity = { opcode: Opcode.verbosity, extras: Buffer.alloc(4) }
  t.equal((await one.call(verbosity)).status, Status.success)
  const noop = await one.call({ opcode: Opcode.noop })
  t.equal(noop.cas, 0n)
  t.equal(noop.bodyLength, 0)
})

t.test('buckets are made, listed, chosen and deleted', async t => {
  const { client, buckets } = await serve(t)
  const [one, two] = [await client(), await client()]
  const value = encodeCreateBucketValue({ module: 'ep.so', configuration: '' })
  const create = { opcode: Opcode.createBucket, key: 'other', value }
  t.equal((await one.call(create)).status, Status.success)
  t.equal((await one.call(create)).status, Status.keyExists)
  const list = await one.call({ opcode: Opcode.listBuckets })
  t.equal(list.value().toString(), 'default other')
  const select = { opcode: Opcode.selectBucket, key: 'other' }
  t.equal((await one.call(select)).status, Status.success)
  const stored = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8) }
  await one.call(stored)
  t.equal((await two.call(get('k'))).status, Status.keyNotFound)
  await two.call(select)
  t.equal((await two.call(get('k'))).value().toString(), 'v')
  t.equal((await two.call({ ...select, key: 'wrong' })).status, Status.accessDenied)
  t.equal((await two.call(get('k'))).status, Status.success, 'what was chosen stays chosen')
  t.equal((await one.call({ opcode: Opcode.deleteBucket, key: 'other' })).status, Status.success)
  t.equal((await two.call(get('k'))).status, Status.noBucket)
  t.equal(buckets.get('other'), undefined)
  const wrong = { opcode: Opcode.deleteBucket, key: 'other' }
  t.equal((await one.call(wrong)).status, Status.keyNotFound)
  await two.call({ ...select, key: 'default' })
  t.equal((await two.call(get('k'))).status, Status.keyNotFound)
  await two.call({ ...select, key: '@no bucket@' })
  t.equal((await two.call(get('k'))).status, Status.noBucket)
})

t.test('the cluster map names this node and its vbuckets', async t => {
  const { client, bucket, port } = await serve(t)
  const one = await client()
  const config = { opcode: Opcode.getClusterConfig }
  const map = json(await one.call(config))
  t.equal(map.name, 'default')
  t.equal(map.nodeLocator, 'vbucket')
  t.same(map.nodesExt, [{ thisNode: true, services: { kv: port, mgmt: 8091 } }])
  t.equal(map.nodes.length, 1)
  t.match(map.uuid, /^[0-9a-f]{32}$/)
  t.equal(map.vBucketServerMap.vBucketMap.length, bucket.vbucketCount)
  t.ok(map.vBucketServerMap.vBucketMap.every((servers: number[]) => servers[0] === 0))
  const known = (revision: number, epoch = 1) => ({
    ...config,
    extras: encodeClusterConfigVersion({ epoch, revision }),
  })
  t.equal((await one.call(known(map.rev))).valueLength, 0, 'the client has it')
  t.ok((await one.call(known(map.rev - 1))).valueLength > 0)
  t.ok((await one.call(known(map.rev + 99, 0))).valueLength > 0)
  await bucket.setState(5, VbucketState.replica)
  const changed = json(await one.call(known(map.rev)))
  t.ok(changed.rev > map.rev)
  t.same(changed.vBucketServerMap.vBucketMap[5], [-1])
  // Who can choose a bucket and has not asks about the cluster.
  await one.call(hello(Feature.selectBucket, Feature.json))
  const cluster = await one.call(config)
  t.equal(cluster.datatype, Datatype.json)
  t.equal(json(cluster).vBucketServerMap, undefined)
  t.equal(json(cluster).nodesExt[0].services.kv, port)
  await one.call({ opcode: Opcode.selectBucket, key: 'default' })
  t.equal(json(await one.call(config)).name, 'default')
})

t.test('a vbucket that is not served is refused, with the map for whoever reads it', async t => {
  const { client, bucket } = await serve(t)
  const [one, two] = [await client(), await client()]
  await bucket.setState(2, VbucketState.replica)
  await bucket.setState(3, VbucketState.pending)
  await bucket.deleteVbucket(4)
  for (const vbid of [2, 3, 4, 16, 0xffff]) {
    const answer = await one.call(get('k', vbid))
    t.equal(answer.status, Status.notMyVbucket)
    t.equal(answer.datatype, 0)
  }
  await one.call(hello(Feature.json, Feature.dedupeNotMyVbucketClustermap))
  const told = await one.call(get('k', 2))
  t.equal(told.status, Status.notMyVbucket)
  t.equal(told.datatype, Datatype.json)
  t.equal(json(told).name, 'default')
  t.equal((await one.call(get('k', 2))).valueLength, 0, 'once')
  await bucket.setState(2, VbucketState.dead)
  t.ok((await one.call(get('k', 2))).valueLength > 0, 'and again when it has changed')
  await two.call(hello(Feature.json))
  t.ok((await two.call(get('k', 2))).valueLength > 0)
  t.ok((await two.call(get('k', 2))).valueLength > 0)
})

t.test('replicas are read with a command of their own', async t => {
  const { client, bucket } = await serve(t)
  const one = await client()
  const stored = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8), vbid: 6 }
  await one.call(stored)
  const replica = { opcode: Opcode.getReplica, key: 'k', vbid: 6 }
  t.equal((await one.call(replica)).status, Status.notMyVbucket)
  await bucket.setState(6, VbucketState.replica)
  t.equal((await one.call(replica)).value().toString(), 'v')
  t.equal((await one.call(stored)).status, Status.notMyVbucket)
})

t.test('the error map explains every status, in the version asked for', async t => {
  const { client } = await serve(t)
  const one = await client()
  const ask = (version: number) =>
    one.call({ opcode: Opcode.getErrorMap, value: encodeErrorMapVersion(version) })
  const map = json(await ask(2))
  t.equal(map.version, 2)
  t.equal(Object.keys(map.errors).length, statusTable.length)
  t.same(map.errors['86'].attrs, ['temp', 'retry-later'])
  t.ok(map.errors['7'].attrs.includes('fetch-config'))
  for (const { name, desc, attrs } of Object.values<Record<string, string>>(map.errors)) {
    t.ok(name && desc && attrs && attrs.length > 0)
  }
  t.equal(json(await ask(1)).version, 1)
  t.equal(json(await ask(9)).version, 2)
  t.equal((await ask(0)).status, Status.invalidArguments)
})

t.test('flush empties the bucket, at once or later', async t => {
  const { client } = await serve(t)
  const one = await client()
  const stored = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8) }
  await one.call(stored)
  t.equal((await one.call({ opcode: Opcode.flush })).status, Status.success)
  t.equal((await one.call(get('k'))).status, Status.keyNotFound)
  await one.call(stored)
  one.send({ opcode: Opcode.flushq, extras: Buffer.alloc(4) }, { ...get('k'), opaque: 3 })
  const answer = await one.next()
  t.equal(answer.opaque, 3, 'the quiet one says nothing')
  t.equal(answer.status, Status.keyNotFound)
  await one.call(stored)
  await one.call({ opcode: Opcode.flush, extras: Buffer.of(0, 0, 0, 1) })
  t.equal((await one.call(get('k'))).status, Status.success)
  await one.call({ opcode: Opcode.flush, extras: Buffer.of(0, 0, 0, 60) })
  t.equal((await one.call(get('k'))).status, Status.success, 'the later one replaces the earlier')
})

t.test('a flush that is far off waits for its time', t => {
  let nowMs = 1000
  const timers: { atMs: number; fire: () => void }[] = []
  const clock: Clock = {
    ...systemClock,
    nowMs: () => nowMs,
    after(delayMs, fire) {
      const timer = { atMs: nowMs + delayMs, fire }
      timers.push(timer)
      return { cancel: () => void (timer.fire = () => undefined) }
    },
  }
  let flushed = 0
  const bucket = { name: 'b', flush: async () => void flushed++ } as unknown as Bucket
  const flushes = new DelayedFlushes(clock, silentLog)
  const run = () => {
    const { atMs, fire } = timers.shift()!
    nowMs = atMs
    fire()
  }
  flushes.set(bucket, 2 ** 32)
  run()
  t.equal(flushed, 0, 'no timer is that long')
  t.ok(nowMs < 2 ** 32)
  run()
  t.equal(flushed, 1)
  t.ok(nowMs >= 2 ** 32)
  flushes.set(bucket, nowMs + 10)
  flushes.set(bucket, nowMs + 20)
  run()
  t.equal(flushed, 1, 'replaced')
  run()
  t.equal(flushed, 2)
  flushes.set(bucket, nowMs + 10)
  flushes.close()
  run()
  t.equal(flushed, 2)
  t.end()
})

t.test('a state can be set only by its number', async t => {
  const { client, bucket } = await serve(t)
  const one = await client()
  const state = { opcode: Opcode.setVbucket, vbid: 1 }
  const extras = encodeSetVbucketExtras(VbucketState.pending)
  t.equal((await one.call({ ...state, extras })).status, Status.success)
  t.equal(bucket.vbucket(1)!.state, VbucketState.pending)
  t.equal((await one.call({ ...state, extras: Buffer.of(5) })).status, Status.invalidArguments)
  t.equal((await one.call({ ...state, extras, value: '{}' })).status, Status.invalidArguments)
  t.equal((await one.call({ ...state, extras, value: '{}', datatype: 1 })).status, Status.success)
  t.equal((await one.call({ ...state, extras, vbid: 99 })).status, Status.notMyVbucket)
  const read = await one.call({ opcode: Opcode.getVbucket, vbid: 1 })
  t.equal(read.value().readUInt32BE(), VbucketState.pending)
  const gone = { opcode: Opcode.delVbucket, vbid: 1 }
  t.equal((await one.call({ ...gone, value: 'async=0' })).status, Status.success)
  t.equal((await one.call({ opcode: Opcode.getVbucket, vbid: 1 })).status, Status.notMyVbucket)
  t.equal((await one.call(gone)).status, Status.notMyVbucket)
  t.equal((await one.call({ ...gone, vbid: 2 })).status, Status.success)
})
