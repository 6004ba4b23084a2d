/** The clients and collections, against a daemon. */
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import {
  DcpClient,
  isChange,
  KvClient,
  type DcpClientOptions,
  type DcpEvent,
  type KvClientOptions,
} from '../../src/client/index.ts'
import { encodeManifest } from '../../src/client/collections-manifest.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { ScriptedServer } from './scripted-server.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })

async function connect(t: Test, options: KvClientOptions = {}) {
  const client = await KvClient.connect({ port: daemon.port, collections: true, ...options })
  t.teardown(() => client.close())
  return client
}

/** A bucket of its own with these collections, each as `scope.collection`. */
async function withBucket(t: Test, bucket: string, paths: readonly string[]) {
  const first = await connect(t)
  await first.createBucket(bucket)
  const client = await connect(t, { bucket })
  await setCollections(client, paths)
  return client
}

/** Makes these the collections besides the default one, with new ids where there was none. */
async function setCollections(client: KvClient, paths: readonly string[]): Promise<void> {
  const { uid, scopes } = await client.collectionsManifest()
  const names = ['_default', ...new Set(paths.map(path => path.split('.')[0]!))]
  const next = [...new Set(names)].map(name => {
    const scope = scopes.find(scope => scope.name === name)
    const collections = [...(name === '_default' ? ['_default._default'] : []), ...paths]
      .filter(path => path.startsWith(`${name}.`))
      .map(path => path.slice(name.length + 1))
      .map(name => {
        const known = scope?.collections.find(collection => collection.name === name)
        return known ?? { name, maxTtlSeconds: 0 }
      })
    return { ...(scope && { id: scope.id }), name, collections }
  })
  const value = encodeManifest({ uid: uid + 1n, scopes: next })
  const { status } = await client.request({ opcode: Opcode.setCollectionsManifest, value })
  if (status !== Status.success) throw new Error(`refused with ${status}`)
}

t.test('one key is another document in each collection', async t => {
  const client = await withBucket(t, 'keys', ['shop.orders', '_default.fruit'])
  const inOrders = { collection: 'shop.orders' }
  await client.set('apple', 'default')
  await client.set('apple', 'order', inOrders)
  await client.add('apple', 'fruit', { collection: 'fruit' })
  const read = async (collection?: string) => {
    const document = await client.get('apple', collection === undefined ? {} : { collection })
    return document?.value.toString()
  }
  t.equal(await read(), 'default')
  t.equal(await read('_default._default'), 'default')
  t.equal(await read('shop.orders'), 'order')
  t.equal(await read('_default.fruit'), 'fruit')
  const id = await client.collectionId('shop.orders')
  t.match(await client.get('apple', { collection: id }), { value: Buffer.from('order') })
  await client.append('apple', '!', inOrders)
  await client.touch('apple', 1000, inOrders)
  t.match(await client.getMeta('apple', inOrders), { isDeleted: false })
  t.match(await client.increment('count', { initial: 3n, ...inOrders }), { value: 3n })
  await client.remove('apple', inOrders)
  t.equal(await read('shop.orders'), undefined)
  t.equal(await read(), 'default')
})

t.test('what is asked of a collection is done in its order, from the first request on', async t => {
  const client = await withBucket(t, 'order', ['shop.orders'])
  const collection = 'shop.orders'
  const done = Array.from({ length: 50 }, (_, index) => client.set('k', `${index}`, { collection }))
  const last = client.get('k', { collection })
  await Promise.all(done)
  t.equal((await last)?.value.toString(), '49')
})

t.test('a collection that was made again has another id, which is asked for', async t => {
  const client = await withBucket(t, 'again', ['shop.orders'])
  const collection = 'shop.orders'
  await client.set('k', 'old', { collection })
  const other = await connect(t, { bucket: 'again' })
  await setCollections(other, ['shop.baskets'])
  const gone = { name: 'ServerError', status: Status.unknownCollection }
  await t.rejects(client.get('k', { collection }), gone)
  await t.rejects(client.remove('k', { collection }), gone)
  await t.rejects(client.get('k', { collection: 'no.such' }), {
    name: 'ServerError',
    status: Status.unknownScope,
  })
  await setCollections(other, ['shop.orders'])
  t.equal(await client.get('k', { collection }), undefined)
  await client.set('k', 'new', { collection })
  t.match(await client.get('k', { collection }), { value: Buffer.from('new') })
})

t.test('collections are for those who asked, and named as they should be', async t => {
  const plain = await connect(t, { collections: false })
  await t.rejects(plain.get('k', { collection: '_default._default' }), RangeError)
  const client = await connect(t)
  for (const collection of ['a.b.c', '', '.b', 'a.']) {
    await t.rejects(client.get('k', { collection }), RangeError)
  }
  const server = await ScriptedServer.start(t)
  const old = { port: server.port, collections: true, vbucketCount: 4 }
  await t.rejects(KvClient.connect(old), { message: /the server has no collections/ })
})

/** The events until now, but for markers and ends, as lines; vbuckets one after the other. */
async function linesOf(
  t: Test,
  options: Partial<DcpClientOptions>,
): Promise<{ lines: string[]; client: DcpClient }> {
  const client = await DcpClient.connect({
    port: daemon.port,
    name: `lines of ${t.name}`,
    until: 'now',
    openStreamsMax: 1,
    vbuckets: [0],
    ...options,
  })
  t.teardown(() => client.close())
  const lines: string[] = []
  for await (const event of client.events()) {
    const line = lineOf(event)
    if (line !== undefined) lines.push(line)
  }
  return { lines, client }
}

function lineOf(event: DcpEvent): string | undefined {
  if (isChange(event)) {
    const { type, collection, collectionId, key } = event
    return `${type} ${collection}#${collectionId} ${key.toString()}`
  }
  if (event.type === 'collection-created' || event.type === 'collection-dropped') {
    return `${event.type} ${event.collection}#${event.collectionId} of ${event.scopeId}`
  }
  if (event.type === 'scope-created' || event.type === 'scope-dropped') {
    return `${event.type} ${event.scope}#${event.scopeId}`
  }
  return undefined
}

t.test('a stream of collections: each change names its own, and events tell of them', async t => {
  const bucket = 'stream'
  const client = await withBucket(t, bucket, ['shop.orders'])
  const first = { vbid: 0, collection: 'shop.orders' }
  await client.set('a', '1', { vbid: 0 })
  await client.set('b', '2', first)
  await client.remove('b', first)
  await setCollections(client, ['shop.orders', 'shop.baskets'])
  await client.set('c', '3', { vbid: 0, collection: 'shop.baskets' })
  const { lines, client: stream } = await linesOf(t, { bucket, collections: 'all' })
  t.same(lines, [
    'scope-created shop#8',
    'collection-created shop.orders#8 of 8',
    'mutation _default._default#0 a',
    'deletion shop.orders#8 b',
    'collection-created shop.baskets#9 of 8',
    'mutation shop.baskets#9 c',
  ])
  t.equal(stream.state().collections, 'all')

  const only = await linesOf(t, { bucket, collections: ['shop.baskets', '_default._default'] })
  t.same(only.lines, [
    'mutation _default._default#0 a',
    'collection-created shop.baskets#9 of 8',
    'mutation shop.baskets#9 c',
  ])
  t.same(only.client.state().collections, ['0', '9'])
  t.equal(only.client.position(0)?.seqno, stream.position(0)?.seqno)

  const scope = await linesOf(t, { bucket, collections: { scope: 'shop' } })
  t.same(
    scope.lines,
    lines.filter(line => !line.includes('_default')),
  )
  t.same(scope.client.state().collections, { scope: '8' })

  // Without asking, everything is as if there were no others.
  const plain = await linesOf(t, { bucket })
  t.same(plain.lines, ['mutation _default._default#0 a'])
  t.equal(plain.client.state().collections, undefined)
})

t.test('a stream goes on behind its state, with what has come and gone meanwhile', async t => {
  const bucket = 'resumed'
  const client = await withBucket(t, bucket, ['shop.orders', 'shop.baskets'])
  await client.set('a', '1', { vbid: 0, collection: 'shop.orders' })
  const all = { bucket, collections: 'all' } as const
  const state = (await linesOf(t, all)).client.state()
  await setCollections(client, ['shop.baskets', 'new.ones'])
  await client.set('b', '2', { vbid: 0, collection: 'new.ones' })
  const { lines } = await linesOf(t, {
    ...all,
    state: JSON.parse(JSON.stringify(state)) as unknown,
  })
  t.same(lines, [
    // Its name is in no manifest any more, and its beginning before the state.
    'collection-dropped undefined#8 of 8',
    'scope-created new#9',
    'collection-created new.ones#10 of 9',
    'mutation new.ones#10 b',
  ])
})

t.test('a state is good for the collections that it was made with', async t => {
  const bucket = 'states'
  const client = await withBucket(t, bucket, ['shop.orders', 'shop.baskets'])
  const collections = ['shop.orders']
  const { client: stream } = await linesOf(t, { bucket, collections })
  const state = stream.state()
  const refused = { code: 'HOLDFAST_STATE' }
  for (const other of [undefined, 'all', ['shop.baskets'], { scope: 'shop' }] as const) {
    const selection = other === undefined ? {} : { collections: other }
    await t.rejects(linesOf(t, { bucket, state, ...selection }), refused)
  }
  t.same((await linesOf(t, { bucket, state, collections })).lines, [])
  await setCollections(client, ['shop.baskets'])
  const gone = { name: 'ServerError', status: Status.unknownCollection }
  await t.rejects(linesOf(t, { bucket, state, collections }), gone)
  await setCollections(client, ['shop.baskets', 'shop.orders'])
  await t.rejects(linesOf(t, { bucket, state, collections }), refused)
  const nowhere = { name: 'ServerError', status: Status.unknownScope }
  await t.rejects(linesOf(t, { bucket, collections: { scope: 'none' } }), nowhere)
  await t.rejects(linesOf(t, { bucket, collections: [] }), RangeError)
  await t.rejects(linesOf(t, { bucket, collections: ['a.b.c'] }), RangeError)
})

t.test('the stream of a collection ends when it is dropped', async t => {
  const bucket = 'ended'
  const client = await withBucket(t, bucket, ['shop.orders'])
  await client.set('a', '1', { vbid: 0, collection: 'shop.orders' })
  const stream = await DcpClient.connect({
    port: daemon.port,
    name: 'until it is dropped',
    bucket,
    vbuckets: [0],
    collections: ['shop.orders'],
  })
  t.teardown(() => stream.close())
  const seen: (string | undefined)[] = []
  for await (const event of stream.events()) {
    seen.push(event.type === 'stream-end' ? event.reason : lineOf(event))
    if (isChange(event)) await setCollections(client, [])
  }
  t.same(
    seen.filter(line => line !== undefined),
    [
      'collection-created shop.orders#8 of 8',
      'mutation shop.orders#8 a',
      'collection-dropped shop.orders#8 of 8',
      'filterEmpty',
    ],
  )
})
