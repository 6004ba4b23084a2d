import t from 'tap'
import {
  decodeFoundId,
  decodeVbSeqnos,
  encodeAllVbSeqnosRequest,
  encodeFeatures,
  encodeRandomKeyRequest,
  encodeStoreExtras,
  encodeUint32Extras,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { eventually, serve, type Served, type TestClient } from '../server/harness.ts'

/** What a client with collections writes in front of a key. */
const inCollection = (id: number, key: string) => Buffer.concat([Buffer.of(id), Buffer.from(key)])
const extras = encodeStoreExtras({ flags: 7, expiry: 0 })
const set = (key: Uint8Array | string, value: string) => ({
  opcode: Opcode.set,
  key,
  value,
  extras,
})
const get = (key: Uint8Array | string) => ({ opcode: Opcode.get, key })

async function aware(served: Served, ...more: number[]): Promise<TestClient> {
  const client = await served.client()
  const features = [Feature.collections, Feature.xerror, Feature.json, ...more]
  const hello = await client.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  t.same(hello.value(), encodeFeatures(features))
  return client
}

t.test('documents live in their collections, whoever knows of them', async t => {
  const served = await serve(t)
  const { bucket } = served
  const { id } = await bucket.collections.createCollection('_default', 'fruit')
  t.equal(id, 8)
  const legacy = await served.client()
  const client = await aware(served)
  t.equal((await client.call(set(inCollection(8, 'k'), 'in fruit'))).status, Status.success)
  t.equal((await client.call(set(inCollection(0, 'k'), 'in default'))).status, Status.success)
  t.equal((await client.call(get(inCollection(8, 'k')))).value().toString(), 'in fruit')
  t.equal((await client.call(get(inCollection(0, 'k')))).value().toString(), 'in default')
  t.equal((await legacy.call(get('k'))).value().toString(), 'in default')
  t.equal((await legacy.call(get('\u0008k'))).status, Status.keyNotFound)
  const withKey = { opcode: Opcode.getk, key: inCollection(8, 'k') }
  t.same((await client.call(withKey)).key(), inCollection(8, 'k'))
  const miss = await client.call({ opcode: Opcode.getk, key: inCollection(8, 'none') })
  t.same([miss.status, miss.key()], [Status.keyNotFound, inCollection(8, 'none')])
  t.equal((await legacy.call({ opcode: Opcode.getk, key: 'k' })).key().toString(), 'k')
  t.equal(bucket.statistics().items, 2)
  t.equal(bucket.vbucket(0)!.heldBy(8).items, 1)
  t.equal(bucket.vbucket(0)!.heldBy(0).items, 1)
})

t.test(
  'a key without a sound id in front is refused, one of no collection with the manifest',
  async t => {
    const served = await serve(t)
    const client = await aware(served)
    const malformed = [
      Buffer.of(0), // no key
      Buffer.of(0x80), // no end
      Buffer.from('808080808000', 'hex'), // six bytes
      Buffer.from('80006b', 'hex'), // not the shortest form
      Buffer.from('ffffffff1f6b', 'hex'), // beyond 32 bits
      Buffer.from('016b', 'hex'), // the system's own
      Buffer.from('076b', 'hex'), // reserved
      inCollection(0, 'x'.repeat(251)),
      inCollection(9, 'x'.repeat(247)),
    ]
    for (const key of malformed) {
      t.equal((await client.call(get(key))).status, Status.invalidArguments, key.toString('hex'))
    }
    t.equal((await client.call(get(inCollection(0, 'x'.repeat(250))))).status, Status.keyNotFound)
    const { uid } = await served.bucket.collections.createCollection('_default', 'fruit')
    const unknown = await client.call(set(Buffer.from('8d016b', 'hex'), 'value'))
    t.equal(unknown.status, Status.unknownCollection)
    t.equal(unknown.datatype, Datatype.json)
    t.same(JSON.parse(unknown.value().toString()), { manifest_uid: uid.toString(16) })
    t.equal((await client.call(set(inCollection(8, 'x'.repeat(246)), 'v'))).status, Status.success)
  },
)

t.test('the manifest is set, told, and asked for ids', async t => {
  const served = await serve(t)
  const client = await aware(served)
  const manifest = {
    uid: 'a2',
    scopes: [
      { name: '_default', uid: '0', collections: [{ name: '_default', uid: '0' }] },
      { name: 'shop', uid: '8', collections: [{ name: 'orders', uid: '1c', maxTTL: 60 }] },
    ],
  }
  const text = JSON.stringify(manifest)
  const set = (value: string) => client.call({ opcode: Opcode.setCollectionsManifest, value })
  t.equal((await set(text)).status, Status.success)
  const told = await client.call({ opcode: Opcode.getCollectionsManifest })
  t.same(JSON.parse(told.value().toString()), manifest)
  const idOf = (value: string) => client.call({ opcode: Opcode.getCollectionId, value })
  t.same(decodeFoundId(await idOf('shop.orders')), { manifestUid: 0xa2n, id: 0x1c })
  t.same(decodeFoundId(await idOf('.')), { manifestUid: 0xa2n, id: 0 })
  t.equal((await idOf('shop')).status, Status.invalidArguments)
  t.equal((await idOf('shop.$')).status, Status.invalidArguments)
  const noScope = await idOf('none.orders')
  t.equal(noScope.status, Status.unknownScope)
  t.same(JSON.parse(noScope.value().toString()), { manifest_uid: 'a2' })
  t.equal((await idOf('shop.none')).status, Status.unknownCollection)
  const scopeOf = (value: string) => client.call({ opcode: Opcode.getScopeId, value })
  t.same(decodeFoundId(await scopeOf('shop')), { manifestUid: 0xa2n, id: 8 })
  t.same(decodeFoundId(await scopeOf('shop.whatever')), { manifestUid: 0xa2n, id: 8 })
  t.same(decodeFoundId(await scopeOf('_default')), { manifestUid: 0xa2n, id: 0 })
  t.equal((await scopeOf('none')).status, Status.unknownScope)
  t.equal((await scopeOf('a.b.c')).status, Status.invalidArguments)
  // Again the same is no change; another with its uid, or an older one, cannot follow.
  t.equal((await set(text)).status, Status.success)
  const refused = Status.cannotApplyCollectionsManifest
  t.equal((await set(text.replace('orders', 'bills'))).status, refused)
  t.equal((await set(text.replace('a2', 'a1'))).status, refused)
  t.equal((await set(text.replace('a2', 'a3').replace('orders', 'bills'))).status, refused)
  t.equal((await set(text.replace('a2', 'a3').replace('"maxTTL"', '"x"'))).status, Status.success)
  t.equal((await set('{"uid":"b0"}')).status, Status.invalidArguments)
  t.equal((await set('no JSON')).status, Status.invalidArguments)
})

t.test('what a dropped collection held is gone at once, and soon from disk', async t => {
  const served = await serve(t)
  const { bucket } = served
  const { collections } = bucket
  await collections.createScope('shop')
  await collections.createCollection('shop', 'orders')
  await collections.createCollection('shop', 'bills')
  const client = await aware(served)
  for (let i = 0; i < 100; i++) {
    for (const id of [0, 8, 9]) await client.call(set(inCollection(id, `key-${i}`), `value ${i}`))
  }
  for (let i = 0; i < 10; i++) {
    await client.call({ opcode: Opcode.delete, key: inCollection(8, `key-${i}`) })
  }
  const vbucket = bucket.vbucket(0)!
  t.same([vbucket.itemCount, vbucket.tombstoneCount], [290, 10])
  t.equal(vbucket.highSeqno, 3 + 310)
  await collections.dropCollection('shop', 'orders')
  t.equal((await client.call(get(inCollection(8, 'key-50')))).status, Status.unknownCollection)
  t.equal(vbucket.itemCount, 200)
  t.equal(vbucket.highSeqno, 3 + 310 + 1)
  // The event that it was dropped is a tombstone of its own.
  await eventually(() => vbucket.collections.doomed.size === 0)
  t.equal(vbucket.tombstoneCount, 1)
  const { uid, id } = await collections.createCollection('shop', 'orders')
  t.same([uid, id], [5n, 10], 'ids are not used again')
  t.equal((await client.call(get(inCollection(10, 'key-50')))).status, Status.keyNotFound)
  const { id: scopeId } = await collections.dropScope('shop')
  t.equal(scopeId, 8)
  t.same([...collections.manifest.collections.keys()], [0])
  t.equal(vbucket.itemCount, 100)
})

t.test('without the default collection, clients that know of no other have nothing', async t => {
  const served = await serve(t)
  const { collections } = served.bucket
  const legacy = await served.client()
  const client = await aware(served)
  await legacy.call(set('k', 'v'))
  await collections.createCollection('_default', 'other')
  await client.call(set(inCollection(8, 'k'), 'other'))
  await collections.dropCollection('_default', '_default')
  t.equal((await legacy.call(get('k'))).status, Status.invalidArguments)
  t.equal((await client.call(get(inCollection(0, 'k')))).status, Status.unknownCollection)
  t.equal((await client.call(get(inCollection(8, 'k')))).value().toString(), 'other')
  t.equal(served.bucket.statistics().items, 1)
})

t.test('a collection limits how long its documents live', async t => {
  const served = await serve(t)
  const { bucket } = served
  await bucket.collections.createCollection('_default', 'short', { maxTtlSeconds: 60 })
  const client = await aware(served)
  const expiryOf = async (expiry: number) => {
    const extras = encodeStoreExtras({ flags: 0, expiry })
    await client.call({ ...set(inCollection(8, 'k'), 'v'), extras })
    const record = bucket.documents.getMeta(bucket.vbucket(0)!, inCollection(8, 'k'), 0, 2)!
    return record.expiry - Math.floor(Date.now() / 1000)
  }
  for (const [asked, most] of [
    [0, 60],
    [1000, 60],
    [30, 30],
  ] as const) {
    const given = await expiryOf(asked)
    t.ok(given <= most && given >= most - 5, `${asked}: ${given}`)
  }
  const touch = { opcode: Opcode.touch, key: inCollection(8, 'k'), extras: encodeUint32Extras(0) }
  t.equal((await client.call(touch)).status, Status.success)
  const record = bucket.documents.getMeta(bucket.vbucket(0)!, inCollection(8, 'k'), 0, 2)!
  t.not(record.expiry, 0)
})

t.test('seqnos and random documents are those of the collection asked for', async t => {
  const served = await serve(t)
  const { collections } = served.bucket
  await collections.createCollection('_default', 'fruit')
  const client = await aware(served)
  const legacy = await served.client()
  await client.call(set(inCollection(0, 'a'), '1'))
  await client.call(set(inCollection(8, 'b'), '2'))
  await client.call(set(inCollection(8, 'c'), '3'))
  const seqnoOf = async (one: TestClient, collection?: number) => {
    const extras = encodeAllVbSeqnosRequest({ state: undefined, collection })
    const answer = await one.call({ opcode: Opcode.getAllVbSeqnos, extras })
    return answer.status === 0 ? decodeVbSeqnos(answer)![0]!.seqno : answer.status
  }
  t.equal(await seqnoOf(client), 4)
  t.equal(await seqnoOf(client, 8), 4)
  t.equal(await seqnoOf(client, 0), 2)
  t.equal(await seqnoOf(legacy), 2)
  t.equal(await seqnoOf(client, 99), Status.unknownCollection)
  t.equal(await seqnoOf(legacy, 8), Status.invalidArguments)
  const random = (one: TestClient, collection?: number) => {
    const extras = encodeRandomKeyRequest({ collection, includeXattrs: undefined })
    return one.call({ opcode: Opcode.getRandomKey, extras })
  }
  t.same((await random(client, 0)).key(), inCollection(0, 'a'))
  t.equal((await random(client, 8)).key()[0], 8)
  t.equal((await random(legacy)).key().toString(), 'a')
  t.equal((await random(client, 9)).status, Status.unknownCollection)
})
