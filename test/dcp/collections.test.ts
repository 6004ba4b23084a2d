import t, { type Test } from 'tap'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import type { StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { Status } from '../../protocol/status.ts'
import type { Producer } from '../../src/dcp/producer.ts'
import type { StreamAnswer } from '../../src/dcp/stream-answer.ts'
import { committed, storing } from '../support/bucket.ts'
import type { FakeOutput } from './support/fake-output.ts'
import { Recorder } from './support/recorder.ts'
import { openScene, quiet, until, type Scene } from './support/scene.ts'

interface Link {
  producer: Producer
  output: FakeOutput
  recorder: Recorder
}

const endless = 2 ** 64
let opaques = 1

/** A collection's document, written past the commands. */
function set(scene: Scene, id: number, key: string, value = `value of ${key}`, vbid = 0): number {
  const request = storing(key, value)
  request.key = Buffer.concat([Buffer.of(id), Buffer.from(key)])
  request.keyLength = request.key.length
  if (scene.bucket.documents.store(scene.vbucket(vbid), request) !== 0) throw new Error('refused')
  return scene.bucket.documents.result.seqno
}

function connect(scene: Scene, isAware: boolean, controls: Record<string, string> = {}): Link {
  const recorder = new Recorder(isAware)
  const { producer, output } = scene.connect({ isAware, controls, name: `client ${opaques++}` })
  output.deliver = bytes => recorder.read(bytes)
  return { producer, output, recorder }
}

function ask(link: Link, more: Partial<StreamRequest> = {}): Promise<StreamAnswer> {
  const request = {
    opaque: opaques++,
    vbid: 0,
    flags: 0,
    startSeqno: 0,
    endSeqno: endless,
    vbuuid: 0n,
    snapshotStartSeqno: 0,
    snapshotEndSeqno: 0,
    value: '',
    ...more,
  }
  return new Promise((reply, fail) => link.producer.streamRequest(request, { reply, fail }))
}

/** Two collections of a scope, one of the default scope, and a document or two in each. */
async function fruitAndShop(t: Test, inMemory: boolean): Promise<Scene> {
  const scene = await openScene(t)
  const { collections } = scene.bucket
  await collections.createCollection('_default', 'fruit') // 8 @1
  await collections.createScope('shop') // @2
  await collections.createCollection('shop', 'orders') // 9 @3
  set(scene, 0, 'plain') // @4
  set(scene, 8, 'apple') // @5
  set(scene, 9, 'first') // @6
  set(scene, 8, 'pear') // @7
  set(scene, 9, 'second') // @8
  await (inMemory ? committed(scene.bucket) : scene.toDisk())
  return scene
}

for (const inMemory of [true, false]) {
  const where = inMemory ? 'from memory' : 'from disk'

  t.test(`a client with collections gets all of them, and the events (${where})`, async t => {
    const scene = await fruitAndShop(t, inMemory)
    const link = connect(scene, true)
    t.equal((await ask(link, { endSeqno: 8 })).status, Status.success)
    await until('it has all', () => link.recorder.ended)
    t.same(link.recorder.lines, [
      'marker 0..8',
      'collection created 0.8 fruit @1',
      'scope created 8 shop @2',
      'collection created 8.9 orders @3',
      'mutation 0:plain @4',
      'mutation 8:apple @5',
      'mutation 9:first @6',
      'mutation 8:pear @7',
      'mutation 9:second @8',
      'end 0',
    ])
    t.same(
      link.recorder.messages.filter(({ what }) => what === 'event').map(event => event.manifest),
      [1n, 2n, 3n],
    )
  })

  t.test(`filters let through what they name, and say how far it goes (${where})`, async t => {
    const scene = await fruitAndShop(t, inMemory)
    const expected: [value: object, lines: string[]][] = [
      [
        { collections: ['8'] },
        ['collection created 0.8 fruit @1', 'mutation 8:apple @5', 'mutation 8:pear @7'],
      ],
      [
        { scope: '8' },
        [
          'scope created 8 shop @2',
          'collection created 8.9 orders @3',
          'mutation 9:first @6',
          'mutation 9:second @8',
        ],
      ],
      [{ collections: ['0'] }, ['mutation 0:plain @4']],
      [
        { scope: '0' },
        [
          'collection created 0.8 fruit @1',
          'mutation 0:plain @4',
          'mutation 8:apple @5',
          'mutation 8:pear @7',
        ],
      ],
    ]
    for (const [value, lines] of expected) {
      const link = connect(scene, true)
      await ask(link, { endSeqno: 8, value: JSON.stringify({ uid: '3', ...value }) })
      await until('it has all', () => link.recorder.ended)
      const advanced = lines.at(-1)!.endsWith('@8') ? [] : ['advanced @8']
      t.same(link.recorder.lines, ['marker 0..8', ...lines, ...advanced, 'end 0'])
    }
  })

  t.test(
    `a client without gets the default collection, in markers that it fills (${where})`,
    async t => {
      const scene = await fruitAndShop(t, inMemory)
      const link = connect(scene, false)
      t.equal((await ask(link)).status, Status.success)
      await until('it has all', () => link.recorder.seqno() === 4)
      await quiet()
      t.same(link.recorder.lines, ['marker 0..4', 'mutation plain @4'])
      set(scene, 8, 'grape') // @9
      await quiet()
      t.equal(link.recorder.messages.length, 2, 'that is nothing for it')
      set(scene, 0, 'other') // @10
      set(scene, 9, 'third') // @11
      await until('it has the next', () => link.recorder.seqno() === 10)
      t.equal(link.recorder.lines.at(-1), 'mutation other @10')
      const marker = link.recorder.messages.at(-2)!
      t.same([marker.start, marker.seqno], [4, 10], 'from where the client is')
    },
  )

  t.test(`dropping what a stream is about ends it behind the event (${where})`, async t => {
    const scene = await fruitAndShop(t, inMemory)
    const { collections } = scene.bucket
    const links = ['{"collections":["8"]}', '{"scope":"8"}', '', '{"collections":["8","9"]}'].map(
      value => ({ link: connect(scene, true), value }),
    )
    for (const { link, value } of links) await ask(link, { value })
    const legacy = connect(scene, false)
    await ask(legacy)
    for (const { link } of links) await until('it has all', () => link.recorder.seqno() === 8)
    await collections.dropCollection('_default', 'fruit') // @9
    const [fruit, shop, all, both] = links.map(({ link }) => link.recorder)
    await until('it ends', () => fruit!.ended)
    t.same(fruit!.lines.slice(-2), ['collection dropped 0.8 @9', 'end 7'])
    await until('others go on', () => both!.lines.at(-1) === 'collection dropped 0.8 @9')
    await collections.dropScope('shop') // @10, @11
    await until('they end', () => shop!.ended && both!.ended)
    t.same(shop!.lines.slice(-3), ['collection dropped 8.9 @10', 'scope dropped 8 @11', 'end 7'])
    t.equal(both!.messages.at(-1)!.code, StreamEndReason.filterEmpty)
    await until('it is told', () => all!.lines.at(-1) === 'scope dropped 8 @11')
    t.notOk(all!.ended || legacy.recorder.ended)
    await collections.dropCollection('_default', '_default') // @12
    await until('it ends', () => legacy.recorder.ended)
    t.same(legacy.recorder.lines.at(-1), 'end 7')
    t.same((await ask(connect(scene, false))).status, Status.unknownCollection)
  })
}

t.test('who may be sent snapshots out of order is sent them in order', async t => {
  const scene = await fruitAndShop(t, false)
  for (const value of ['true', 'true_with_seqno_advanced']) {
    const link = connect(scene, true, { enable_out_of_order_snapshots: value })
    await ask(link, { endSeqno: 8, value: '{"collections":["9"]}' })
    await until('it has all', () => link.recorder.ended)
    t.same(link.recorder.lines, [
      'marker 0..8',
      'collection created 8.9 orders @3',
      'mutation 9:first @6',
      'mutation 9:second @8',
      'end 0',
    ])
  }
})

t.test('a stream of a scope brings collections that come into it later', async t => {
  const scene = await fruitAndShop(t, false)
  const link = connect(scene, true)
  await ask(link, { value: '{"scope":"8"}' })
  await until('it has all', () => link.recorder.seqno() === 8)
  await scene.bucket.collections.createCollection('shop', 'bills') // 10 @9
  set(scene, 10, 'a') // @10
  await until('it has that', () => link.recorder.seqno() === 10)
  t.same(link.recorder.lines.slice(-1), ['mutation 10:a @10'])
  t.ok(link.recorder.lines.includes('collection created 8.10 bills @9'))
})

t.test('what is wrong with a filter is told', async t => {
  const scene = await fruitAndShop(t, true)
  const link = connect(scene, true)
  const statusOf = async (value: string) => (await ask(link, { value })).status
  const unknown = await ask(link, { value: '{"collections":["8","63"]}' })
  t.equal(unknown.status, Status.unknownCollection)
  t.same(JSON.parse(unknown.value.toString()), { manifest_uid: '3' })
  t.equal(await statusOf('{"scope":"63"}'), Status.unknownScope)
  t.equal(await statusOf('{"scope":"8","collections":["8"]}'), Status.invalidArguments)
  t.equal(await statusOf('{"collections":[8]}'), Status.invalidArguments)
  t.equal(await statusOf('{"sid":7}'), Status.streamIdInvalid)
  t.equal(await statusOf('no JSON'), Status.invalidArguments)
})

t.test('streams of one vbucket share a connection by their ids', async t => {
  const scene = await fruitAndShop(t, false)
  const link = connect(scene, true, {
    enable_stream_id: 'true',
    send_stream_end_on_client_close_stream: 'true',
  })
  t.equal((await ask(link)).status, Status.streamIdInvalid)
  const first = '{"sid":7,"collections":["8"]}'
  t.equal((await ask(link, { value: first })).status, Status.success)
  t.equal((await ask(link, { value: first })).status, Status.keyExists)
  t.equal((await ask(link, { value: '{"sid":65535}' })).status, Status.success)
  const { recorder, producer } = link
  await until('both have all', () => recorder.seqno(7) === 8 && recorder.seqno(65535) === 8)
  const of = (streamId: number) => recorder.lines.filter(line => line.startsWith(`#${streamId} `))
  t.same(of(7), [
    '#7 marker 0..8',
    '#7 collection created 0.8 fruit @1',
    '#7 mutation 8:apple @5',
    '#7 mutation 8:pear @7',
    '#7 advanced @8',
  ])
  t.equal(of(65535).length, 9)
  t.equal(producer.closeStream(0), Status.streamIdInvalid)
  t.equal(producer.closeStream(0, 8), Status.keyNotFound)
  t.equal(producer.closeStream(0, 7), Status.success)
  await until('it ends', () => of(7).at(-1) === '#7 end 1')
  set(scene, 8, 'grape')
  await until('the other goes on', () => of(65535).at(-1) === '#65535 mutation 8:grape @9')
  t.equal(of(7).length, 6)
})
