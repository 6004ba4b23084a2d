/**
 * Tries the official Node SDK. It runs in a process of its own, since what its native core does not
 * expect ends the process.
 *
 *   node node-sdk.js CONNECTION-STRING USER PASSWORD TLS-STRING AUTHORITY CERTIFICATE KEY
 */
import assert from 'node:assert/strict'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { setTimeout } from 'node:timers/promises'
import * as couchbase from 'couchbase'
import { tryFeatures } from './features.ts'

const [url, username, password, tlsUrl, authority, certificate, key] = process.argv.slice(2) as [
  string,
  string,
  string,
  string,
  string,
  string,
  string,
]
const timeouts = { connectTimeout: 20_000, kvTimeout: 10_000, managementTimeout: 20_000 }
const options = { username, password, timeouts }
const { MutateInSpec, LookupInSpec, MutateInMacro, DurabilityLevel, StoreSemantics } = couchbase

const cluster = await couchbase.connect(url, options)
const bucket = cluster.bucket('default')
const documents = bucket.defaultCollection()

/** Resolves with the name of the error that `attempt` must end with. */
async function refusalOf(attempt: Promise<unknown>): Promise<string> {
  try {
    await attempt
  } catch (error) {
    return (error as Error).name
  }
  throw new Error('it was not refused')
}

async function documentsOnce(): Promise<void> {
  await documents.upsert('document', { n: 1 })
  assert.deepEqual((await documents.get('document')).content, { n: 1 })
  await documents.replace('document', 'text')
  assert.equal((await documents.get('document')).content, 'text')
  assert.equal((await documents.exists('document')).exists, true)
  await documents.upsert('bytes', Buffer.from([0, 1, 2]))
  assert.deepEqual((await documents.get('bytes')).content, Buffer.from([0, 1, 2]))
  await documents.remove('document')
  assert.equal(await refusalOf(documents.get('document')), 'DocumentNotFoundError')
  assert.equal((await documents.exists('document')).exists, false)
  await documents.insert('document', 1)
  assert.equal(await refusalOf(documents.insert('document', 2)), 'DocumentExistsError')
  const { token } = await documents.upsert('document', 2)
  assert.match(JSON.stringify(token), /sequence_number|sequenceNumber/)
}

async function cas(): Promise<void> {
  const { cas: first } = await documents.upsert('cas', 1)
  const { cas: second } = await documents.replace('cas', 2, { cas: first })
  const outdated = documents.replace('cas', 3, { cas: first })
  assert.equal(await refusalOf(outdated), 'CasMismatchError')
  await documents.remove('cas', { cas: second })
}

async function counters(): Promise<void> {
  const counter = documents.binary()
  assert.equal((await counter.increment('counter', 5, { initial: 10 })).value, 10)
  assert.equal((await counter.increment('counter', 5)).value, 15)
  assert.equal((await counter.decrement('counter', 20)).value, 0)
  await documents.upsert('parts', Buffer.from('b'))
  await counter.append('parts', Buffer.from('c'))
  await counter.prepend('parts', Buffer.from('a'))
  assert.equal((await documents.get('parts')).content.toString(), 'abc')
}

async function locks(): Promise<void> {
  await documents.upsert('locked', 1)
  const { cas: lock } = await documents.getAndLock('locked', 10)
  const refused = documents.upsert('locked', 2, { timeout: 300 })
  assert.match(await refusalOf(refused), /Timeout|DocumentLocked/)
  await documents.unlock('locked', lock)
  await documents.upsert('locked', 3)
}

/** Locks with CAS values that are not theirs. */
async function locksOfOthers(): Promise<void> {
  const { cas: before } = await documents.upsert('guarded', 1)
  const notLocked = documents.unlock('guarded', before, { timeout: 500 })
  assert.equal(await refusalOf(notLocked), 'DocumentNotLockedError')
  const { cas: lock, content } = await documents.getAndLock('guarded', 10)
  assert.equal(content, 1)
  const wrong = documents.unlock('guarded', before, { timeout: 500 })
  assert.equal(await refusalOf(wrong), 'CasMismatchError')
  // The SDK tries again what meets a lock, until it has no time left.
  const again = documents.getAndLock('guarded', 10, { timeout: 300 })
  assert.equal(await refusalOf(again), 'AmbiguousTimeoutError')
  const touched = documents.touch('guarded', 10, { timeout: 300 })
  assert.equal(await refusalOf(touched), 'AmbiguousTimeoutError')
  assert.equal((await documents.get('guarded')).content, 1, 'whoever likes may read it')
  const { cas: after } = await documents.replace('guarded', 2, { cas: lock })
  assert.equal(await refusalOf(documents.replace('guarded', 3, { cas: lock })), 'CasMismatchError')
  await documents.replace('guarded', 3, { cas: after })
  const none = documents.getAndLock('not there', 10)
  assert.equal(await refusalOf(none), 'DocumentNotFoundError')
}

async function expiringCounters(): Promise<void> {
  const counter = documents.binary()
  assert.equal((await counter.increment('visits', 1, { initial: 1, expiry: 3600 })).value, 1)
  assert.equal((await counter.increment('visits', 1, { initial: 1, expiry: 3600 })).value, 2)
  const { expiryTime } = await documents.get('visits', { withExpiry: true })
  assert.ok(Math.abs(expiryTime! - Date.now() / 1000 - 3600) < 60)
  await counter.increment('brief', 1, { initial: 5, expiry: 1 })
  const until = Date.now() + 10_000
  while ((await documents.exists('brief')).exists) {
    assert.ok(Date.now() < until, 'it does not expire')
    await setTimeout(50)
  }
  assert.equal((await counter.increment('brief', 1, { initial: 7 })).value, 7, 'it begins anew')
}

async function keyLengths(): Promise<void> {
  const longest = 'k'.repeat(250)
  await documents.upsert(longest, 1)
  assert.equal((await documents.get(longest)).content, 1)
  const letters = 'ü'.repeat(125)
  await documents.upsert(letters, 2)
  assert.equal((await documents.get(letters)).content, 2)
  for (const key of ['k'.repeat(251), 'ü'.repeat(126), '']) {
    assert.equal(await refusalOf(documents.upsert(key, 1)), 'InvalidArgumentError')
  }
  await documents.upsert('still there', 1)
}

async function manySpecs(): Promise<void> {
  const fields = Array.from({ length: 17 }, (_, index) => `f${index}`)
  await documents.upsert('fields', {})
  const writes = fields.map((field, index) => MutateInSpec.upsert(field, index))
  await documents.mutateIn('fields', writes.slice(0, 16))
  const reads = fields.map(field => LookupInSpec.get(field))
  const { content } = await documents.lookupIn('fields', reads.slice(0, 16))
  assert.deepEqual(
    content.map(({ value }) => value),
    fields.slice(0, 16).map((_, index) => index),
  )
  assert.equal(await refusalOf(documents.mutateIn('fields', writes)), 'InvalidArgumentError')
  assert.equal(await refusalOf(documents.lookupIn('fields', reads)), 'InvalidArgumentError')
  assert.equal(Object.keys((await documents.get('fields')).content).length, 16, 'nothing of it')
}

async function expiry(): Promise<void> {
  await documents.upsert('fleeting', 1, { expiry: 1 })
  await documents.upsert('lasting', 1, { expiry: 3600 })
  await documents.upsert('lasting', 2, { preserveExpiry: true })
  await documents.touch('fleeting', 1)
  const until = Date.now() + 10_000
  while ((await documents.exists('fleeting')).exists) {
    assert.ok(Date.now() < until, 'it does not expire')
    await setTimeout(50)
  }
  await documents.getAndTouch('lasting', 0)
}

async function readExpiry(): Promise<void> {
  await documents.upsert('expires', 1, { expiry: 3600 })
  const { expiryTime } = await documents.get('expires', { withExpiry: true })
  assert.ok(Math.abs(expiryTime! - Date.now() / 1000 - 3600) < 60)
}

async function subDocuments(): Promise<void> {
  await documents.upsert('tree', { name: 'a', list: [1], deep: { n: 1 } })
  await documents.mutateIn('tree', [
    MutateInSpec.upsert('name', 'b'),
    MutateInSpec.insert('deep.x', true),
    MutateInSpec.arrayAppend('list', 2),
    MutateInSpec.arrayPrepend('list', 0),
    MutateInSpec.arrayInsert('list[1]', 9),
    MutateInSpec.arrayAddUnique('list', 7),
    MutateInSpec.increment('deep.n', 4),
    MutateInSpec.remove('deep.x'),
  ])
  const found = await documents.lookupIn('tree', [
    LookupInSpec.get('name'),
    LookupInSpec.get('list'),
    LookupInSpec.exists('deep.x'),
    LookupInSpec.count('list'),
    LookupInSpec.get(''),
  ])
  const [name, list, exists, count, whole] = found.content.map(({ value }) => value)
  assert.deepEqual([name, list, exists, count], ['b', [0, 9, 1, 2, 7], false, 5])
  assert.deepEqual(whole.deep, { n: 5 })
  const fresh = { storeSemantics: StoreSemantics.Upsert }
  await documents.mutateIn('grown', [MutateInSpec.upsert('a.b', 1, { createPath: true })], fresh)
  assert.deepEqual((await documents.get('grown')).content, { a: { b: 1 } })
  const wrong = documents.mutateIn('tree', [MutateInSpec.insert('name', 'c')])
  assert.equal(await refusalOf(wrong), 'PathExistsError')
  const { content } = await documents.get('tree', { project: ['name', 'deep.n'] })
  assert.deepEqual(content, { name: 'b', deep: { n: 5 } })
}

async function attributes(): Promise<void> {
  await documents.upsert('marked', { body: 1 })
  await documents.mutateIn('marked', [
    MutateInSpec.upsert('mark.by', 'us', { xattr: true, createPath: true }),
    MutateInSpec.upsert('mark.cas', MutateInMacro.Cas, { xattr: true, createPath: true }),
    MutateInSpec.upsert('mark.crc', MutateInMacro.ValueCrc32c, { xattr: true, createPath: true }),
  ])
  const found = await documents.lookupIn('marked', [
    LookupInSpec.get('mark', { xattr: true }),
    LookupInSpec.get('$document', { xattr: true }),
    LookupInSpec.get('body'),
  ])
  const [mark, meta, body] = found.content.map(({ value }) => value)
  assert.match(mark.cas, /^0x[0-9a-f]{16}$/)
  assert.match(mark.crc, /^0x[0-9a-f]{8}$/)
  assert.equal(mark.by, 'us')
  assert.match(meta.CAS, /^0x[0-9a-f]{16}$/)
  assert.equal(body, 1)
}

async function collections(): Promise<void> {
  const manager = bucket.collections()
  await manager.createScope('shop')
  await manager.createCollection('orders', 'shop')
  const orders = bucket.scope('shop').collection('orders')
  await orders.upsert('document', 'of orders')
  await documents.upsert('document', 'of the default')
  assert.equal((await orders.get('document')).content, 'of orders')
  assert.equal((await documents.get('document')).content, 'of the default')
  const scopes = await manager.getAllScopes()
  const shop = scopes.find(({ name }) => name === 'shop')
  assert.deepEqual(
    shop?.collections.map(({ name }) => name),
    ['orders'],
  )
  assert.equal(await refusalOf(manager.createScope('shop')), 'ScopeExistsError')
  assert.equal(await refusalOf(manager.createCollection('orders', 'shop')), 'CollectionExistsError')
  assert.equal(await refusalOf(manager.createCollection('c', 'none')), 'ScopeNotFoundError')
  await manager.updateCollection('orders', 'shop', { maxExpiry: 3600 })
  await orders.upsert('limited', 1)
  const { expiryTime } = await orders.get('limited', { withExpiry: true })
  assert.ok(Math.abs(expiryTime! - Date.now() / 1000 - 3600) < 60)
  await manager.dropCollection('orders', 'shop')
  assert.equal(await refusalOf(manager.dropCollection('orders', 'shop')), 'CollectionNotFoundError')
  await manager.dropScope('shop')
  assert.equal(await refusalOf(manager.dropScope('shop')), 'ScopeNotFoundError')
}

/** The SDK tries again until it has no time left, as the collection may be on its way. */
async function unknownCollection(): Promise<void> {
  const missing = bucket.scope('none').collection('such')
  const refusal = await refusalOf(missing.get('document', { timeout: 1_000 }))
  assert.match(refusal, /CollectionNotFound|ScopeNotFound|UnambiguousTimeout/)
}

async function collectionScan(): Promise<void> {
  const manager = bucket.collections()
  await manager.createCollection('scanned', '_default')
  const scanned = bucket.scope('_default').collection('scanned')
  const { token } = await scanned.upsert('scan-of-collection', 1)
  const consistentWith = new couchbase.MutationState(token!)
  const prefix = new couchbase.PrefixScan('scan-')
  const found = await scanned.scan(prefix, { idsOnly: true, consistentWith })
  assert.deepEqual(
    found.map(({ id }) => id),
    ['scan-of-collection'],
  )
  await manager.dropCollection('scanned', '_default')
}

async function byTls(
  login: couchbase.ConnectOptions,
  attempt: (cluster: couchbase.Cluster) => Promise<unknown>,
): Promise<void> {
  const security = { trustStorePath: authority }
  const encrypted = await couchbase.connect(tlsUrl, { ...login, timeouts, security })
  try {
    const collection = encrypted.bucket('default').defaultCollection()
    await collection.upsert('encrypted', 1)
    assert.equal((await collection.get('encrypted')).content, 1)
    await attempt(encrypted)
  } finally {
    await encrypted.close()
  }
}

async function documentsByTls(): Promise<void> {
  await byTls({ username, password }, async () => undefined)
}

async function managementByTls(): Promise<void> {
  await byTls({ username, password }, async encrypted => {
    assert.equal((await encrypted.buckets().getBucket('default')).name, 'default')
  })
}

async function clientCertificate(): Promise<void> {
  const authenticator = new couchbase.CertificateAuthenticator(certificate, key)
  await byTls({ authenticator }, async () => undefined)
}

async function durability(level: couchbase.DurabilityLevel): Promise<void> {
  await documents.upsert('durable', level, { durabilityLevel: level })
  await documents.remove('durable', { durabilityLevel: level })
}

async function observedDurability(): Promise<void> {
  await documents.upsert('observed', 1, { durabilityPersistTo: 1 })
}

async function scans(): Promise<void> {
  const keys = Array.from({ length: 50 }, (_, index) => `scan-${index}`)
  const stored = await Promise.all(keys.map(key => documents.upsert(key, { key })))
  // Scans show what is on disk: they are told what that has to be. Of several tokens of one vbucket
  // the SDK (4.7.0) keeps the first that it is given, so the newest ones go first.
  const tokens = stored.map(({ token }) => token!).reverse()
  const consistentWith = new couchbase.MutationState(...tokens)
  const prefix = new couchbase.PrefixScan('scan-')
  const found = await documents.scan(prefix, { idsOnly: false, consistentWith })
  assert.deepEqual(new Set(found.map(({ id }) => id)), new Set(keys))
  assert.ok(found.every(({ id, content }) => content.key === id))
  const terms = ['scan-1', 'scan-2'].map(term => new couchbase.ScanTerm(term))
  const range = await documents.scan(new couchbase.RangeScan(...terms), { idsOnly: true })
  assert.equal(range.length, 12, 'scan-1, scan-10 to scan-19, scan-2')
  const sampled = await documents.scan(new couchbase.SamplingScan(10), { idsOnly: true })
  assert.equal(sampled.length, 10)
}

async function replicas(): Promise<void> {
  await documents.upsert('copied', 1)
  const { content, isReplica } = await documents.getAnyReplica('copied')
  assert.equal(content, 1)
  assert.equal(isReplica, false)
}

async function allReplicas(): Promise<void> {
  await documents.upsert('copies', 1)
  const found = await documents.getAllReplicas('copies')
  assert.deepEqual(
    found.map(({ content, isReplica }) => [content, isReplica]),
    [[1, false]],
  )
  const path = [LookupInSpec.get('n')]
  await documents.upsert('tree of copies', { n: 1 })
  const any = await documents.lookupInAnyReplica('tree of copies', path)
  assert.equal(any.content[0]!.value, 1)
  const all = await documents.lookupInAllReplicas('tree of copies', path)
  assert.deepEqual(
    all.map(({ content, isReplica }) => [content[0]!.value, isReplica]),
    [[1, false]],
  )
  const none = await refusalOf(documents.getAnyReplica('not there'))
  assert.equal(none, 'DocumentUnretrievableError')
  assert.equal(await refusalOf(documents.getAllReplicas('not there')), 'DocumentNotFoundError')
}

/** To the byte, of what cannot be compressed, as the limit is on what is stored. */
async function largestValues(): Promise<void> {
  const limit = 20 * 1024 * 1024
  const timeout = 60_000
  const bytes = randomBytes(limit + 1)
  await documents.upsert('largest', bytes.subarray(0, limit), { timeout })
  const { content } = await documents.get('largest', { timeout })
  assert.ok(bytes.subarray(0, limit).equals(content as Buffer))
  const tooLarge = documents.upsert('largest', bytes, { timeout })
  assert.equal(await refusalOf(tooLarge), 'ValueTooLargeError')
  const after = await documents.get('largest', { timeout })
  assert.equal((after.content as Buffer).length, limit, 'it stays')
  await documents.remove('largest')
}

async function largeValues(): Promise<void> {
  const text = 'compressible '.repeat(80_000)
  await documents.upsert('large', { text })
  assert.equal((await documents.get('large')).content.text, text)
  const tooLarge = documents.upsert('larger', Buffer.alloc(21 * 1024 * 1024))
  assert.match(await refusalOf(tooLarge), /ValueTooLarge|TooBig/)
}

async function parallel(): Promise<void> {
  const count = 10_000
  const keys = Array.from({ length: count }, (_, index) => `parallel-${index}`)
  await Promise.all(keys.map((key, index) => documents.upsert(key, { index })))
  const found = await Promise.all(keys.map(key => documents.get(key)))
  found.forEach(({ content }, index) => assert.equal(content.index, index))
}

async function ping(): Promise<void> {
  const report = await bucket.ping({ serviceTypes: [couchbase.ServiceType.KeyValue] })
  const [endpoint] = Object.values(report.services).flat()
  assert.equal(endpoint?.state, couchbase.PingState.Ok)
}

async function buckets(): Promise<void> {
  const manager = cluster.buckets()
  await manager.createBucket({ name: 'made', ramQuotaMB: 100, flushEnabled: true })
  const second = { name: 'made', ramQuotaMB: 100 }
  assert.equal(await refusalOf(manager.createBucket(second)), 'BucketExistsError')
  const settings = await manager.getBucket('made')
  assert.equal(settings.ramQuotaMB, 100)
  const names = (await manager.getAllBuckets()).map(({ name }) => name)
  assert.deepEqual(names.toSorted(), ['default', 'made'])
  const made = cluster.bucket('made').defaultCollection()
  await made.upsert('k', 1)
  await manager.flushBucket('made')
  assert.equal((await made.exists('k')).exists, false)
  await manager.updateBucket(Object.assign(settings, { flushEnabled: false }))
  assert.equal(await refusalOf(manager.flushBucket('made')), 'BucketNotFlushableError')
  await manager.dropBucket('made')
  assert.equal(await refusalOf(manager.getBucket('made')), 'BucketNotFoundError')
}

async function unknownBucket(): Promise<void> {
  const missing = cluster.bucket('missing').defaultCollection()
  const refusal = await refusalOf(missing.upsert('k', 1, { timeout: 3_000 }))
  assert.match(refusal, /BucketNotFound|Timeout/)
}

/** The daemon is stopped and started meanwhile: whoever runs this is asked to do so. */
async function restart(): Promise<void> {
  const count = 2_000
  const key = (index: number) => `restart-${index}`
  const answers = createInterface({ input: process.stdin })
  const restarted = once(answers, 'line')
  for (let index = 0; index < count; index++) {
    if (index === count / 4) process.stdout.write('{"ask":"restart"}\n')
    await eventually(() => documents.upsert(key(index), index, { timeout: 2_000 }))
    if (index === count / 2) await restarted
  }
  answers.close()
  for (let index = 0; index < count; index++) {
    assert.equal((await documents.get(key(index))).content, index)
  }
}

/** What is in flight while a server goes away fails, and may be tried again. */
async function eventually(attempt: () => Promise<unknown>): Promise<void> {
  const until = Date.now() + 30_000
  for (;;) {
    try {
      await attempt()
      return
    } catch (error) {
      if (Date.now() > until) throw error
      await setTimeout(20)
    }
  }
}

async function login(): Promise<void> {
  await documents.upsert('first', 1)
}

async function wrongPassword(): Promise<void> {
  const attempt = couchbase.connect(url, { ...options, password: `${password}?` })
  assert.equal(await refusalOf(attempt), 'AuthenticationFailureError')
}

await tryFeatures({
  'login by SCRAM-SHA512': login,
  documents: documentsOnce,
  cas,
  counters,
  'counters that expire': expiringCounters,
  locks,
  'locks with a wrong CAS': locksOfOthers,
  'keys of the greatest length': keyLengths,
  expiry,
  'expiry read back': readExpiry,
  'sub-document': subDocuments,
  '16 specs, and 17': manySpecs,
  xattrs: attributes,
  collections,
  'unknown collection': unknownCollection,
  'scan of a collection': collectionScan,
  TLS: documentsByTls,
  'management by TLS': managementByTls,
  'client certificate': clientCertificate,
  'durability majority': () => durability(DurabilityLevel.Majority),
  'durability persistToMajority': () => durability(DurabilityLevel.PersistToMajority),
  'durability observed': observedDurability,
  scans,
  replicas,
  'all replicas': allReplicas,
  'large values': largeValues,
  'values of 20 MiB, and a byte more': largestValues,
  ping,
  buckets,
  'unknown bucket': unknownBucket,
  '10,000 documents in parallel': parallel,
  'restart during a load': restart,
  'wrong password': wrongPassword,
})
await cluster.close()
process.exit(0)
