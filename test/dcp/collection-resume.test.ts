/** Collections that come and go while a client is in the middle of its backfill, or away from it. */
import { strict as assert } from 'node:assert'
import t, { type Test } from 'tap'
import { CollectionClient } from './support/collection-client.ts'
import { everything, type Wanted } from './support/collection-history.ts'
import { openCollectionScene, type CollectionScene } from './support/collection-scene.ts'
import { until } from './support/scene.ts'

const fruit = 8
const orders = 9
const shop = 8
const rounds = 150

/** Documents in the default collection, in `fruit`, and in `orders` of the scope `shop`, on disk. */
async function filled(t: Test): Promise<CollectionScene> {
  const place = await openCollectionScene(t)
  await place.createCollection(0, 'fruit')
  await place.createScope('shop')
  await place.createCollection(shop, 'orders')
  for (let round = 0; round < rounds; round++) {
    for (const id of [0, fruit, orders]) place.set(id, `key-${round}`, 'v'.repeat(100))
    if (round % 5 === 4) place.remove(fruit, `key-${round - 2}`)
  }
  await place.scene.toDisk()
  return place
}

/** A client that has a part of its backfill. */
async function inTheMiddle(place: CollectionScene, wanted: Partial<Wanted> = {}) {
  const client = new CollectionClient('client', { ...everything, ...wanted })
  await client.connect(place.scene, place.history)
  await receiveUpTo(place, client, rounds)
  return client
}

async function receiveUpTo({ history }: CollectionScene, client: CollectionClient, seqno: number) {
  await until(`${seqno} has come`, () => {
    client.link!.receive(500, history)
    return client.seqno >= seqno
  })
  assert.ok(client.seqno < rounds * 2.5, 'and more is under way')
}

/** Of what the client was told: the last change in a collection, and the event that it was dropped. */
function lastOf({ told }: CollectionClient, id: number) {
  const own = told.filter(({ collection }) => collection === id)
  const changes = own.filter(({ what }) => what !== 'event')
  return {
    change: changes.at(-1)!.seqno,
    dropped: own.find(({ what, code }) => what === 'event' && code === 1)?.seqno,
  }
}

t.test('a collection is dropped and erased in the middle of a backfill', async t => {
  const place = await filled(t)
  const client = await inTheMiddle(place)
  await place.dropCollection(fruit)
  await place.erased()
  place.set(0, 'later', 'value')
  await place.complete(client)
  const { change, dropped } = lastOf(client, fruit)
  t.equal(dropped, place.history.highSeqno - 1)
  t.ok(change > rounds * 2, 'what the snapshot shows of it is sent to the end')
  t.equal(place.scene.service.counters.rollbacks, 0)
})

for (const wanted of [{}, { scope: 0 }]) {
  const what = wanted.scope === undefined ? 'everything' : 'a scope'
  t.test(`the same while the backfill is parked (a stream of ${what})`, async t => {
    const place = await filled(t)
    const { service } = place.scene
    const client = await inTheMiddle(place, wanted)
    client.link!.cut()
    t.equal(service.lot.parked.size, 1)
    await place.dropCollection(fruit)
    await place.createCollection(0, 'bread')
    place.set(10, 'rye', 'dark')
    place.remove(0, 'key-1')
    await place.erased()
    await place.scene.toDisk()
    await place.scene.purge(0)
    const left = client.seqno
    await place.complete(client)
    const { change, dropped } = lastOf(client, fruit)
    t.equal(dropped, place.history.highSeqno - 3)
    t.ok(change < dropped!)
    t.ok(client.told.some(({ seqno, collection }) => seqno > left && collection === 10))
    t.same([service.counters.rollbacks, service.counters.resumed], [0, 1])
  })
}

const gone: [what: string, wanted: Partial<Wanted>][] = [
  ['collection', { collections: [fruit] }],
  ['collections, one of which', { collections: [0, fruit] }],
  ['scope', { scope: shop }],
]
for (const [what, wanted] of gone) {
  t.test(`a client whose ${what} is gone when it comes back is told so`, async t => {
    const place = await filled(t)
    const client = await inTheMiddle(place, wanted)
    client.link!.cut()
    await (wanted.scope === undefined ? place.dropCollection(fruit) : place.dropScope(shop))
    await client.connect(place.scene, place.history)
    t.equal(client.over, 'refused')
  })
}

t.test('streams of one connection are parked and resumed each by its own id', async t => {
  const place = await filled(t)
  const { scene, history } = place
  const { lot, counters } = scene.service
  const one = new CollectionClient('client', { ...everything, collections: [fruit] }, 1)
  const other = new CollectionClient('client', { ...everything, scope: shop }, 2)
  const both = [one, other]
  await one.connect(scene, history)
  await other.connect(scene, history, one.link)
  for (const client of both) await receiveUpTo(place, client, rounds)
  const before = both.map(({ seqno, told }) => ({ seqno, told: told.length }))
  one.link!.cut()
  t.equal(lot.parked.size, 2)
  await place.dropCollection(orders)
  place.set(fruit, 'late', 'value')
  await scene.toDisk()
  await scene.purge(0)

  await other.connect(scene, history)
  await one.connect(scene, history, other.link)
  for (const client of both) await place.complete(client)
  t.same([counters.resumed, counters.rollbacks], [2, 0])
  for (const [index, client] of both.entries()) {
    t.ok(client.told[before[index]!.told]!.seqno > before[index]!.seqno)
  }
  t.equal(lastOf(other, orders).dropped, history.highSeqno - 1)
})
