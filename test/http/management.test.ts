/** The management pages that clients call, on a daemon as a process. */
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { connectKv, statusOf } from '../integration/clients.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

type Json = ReturnType<typeof JSON.parse>

const pagesOf = (daemon: DaemonProcess) => async (path: string, init?: RequestInit) => {
  const response = await fetch(`http://127.0.0.1:${daemon.httpPort}${path}`, init)
  const text = await response.text()
  const isJson = response.headers.get('content-type')?.includes('json') === true
  return { status: response.status, text, json: (isJson ? JSON.parse(text) : {}) as Json }
}

const form = (fields: Record<string, string>): RequestInit => ({
  method: 'POST',
  body: new URLSearchParams(fields),
})

async function start(t: Test, ...flags: string[]) {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '16', ...flags] })
  return { daemon, page: pagesOf(daemon) }
}

t.test('clients find the node, its services and the map of a bucket', async t => {
  const { daemon, page } = await start(t)
  const { port: kv, httpPort: mgmt } = daemon
  const pools = await page('/pools')
  t.match(pools.json, { pools: [{ name: 'default', uri: '/pools/default' }] })
  t.match(pools.json['implementationVersion'], /^\d+\.\d+\.\d+-holdfast/)
  const { nodes, bucketNames } = (await page('/pools/default')).json
  t.match(nodes[0], { services: ['kv'], ports: { direct: kv }, hostname: `127.0.0.1:${mgmt}` })
  t.same(
    bucketNames.map((each: Json) => each['bucketName']),
    ['default'],
  )
  const services = { kv, mgmt }
  const nodesExt = [{ thisNode: true, services }]
  t.same((await page('/pools/default/nodeServices')).json['nodesExt'], nodesExt)
  const terse = (await page('/pools/default/b/default')).json
  t.match(terse, { name: 'default', nodeLocator: 'vbucket', nodesExt })
  t.equal(terse['vBucketServerMap'].vBucketMap.length, 16)
  const whole = (await page('/pools/default/buckets/default')).json
  t.same(whole['vBucketServerMap'].serverList, [`127.0.0.1:${kv}`], 'as older clients need it')
  t.equal((await page('/pools/default/b/none')).status, 404)
  t.equal((await page('/pools/default/bs/none')).status, 404)
})

/** Reads the maps of a stream one by one. */
async function* mapsOf(daemon: DaemonProcess, bucket: string, signal: AbortSignal) {
  const url = `http://127.0.0.1:${daemon.httpPort}/pools/default/bs/${bucket}`
  const response = await fetch(url, { signal })
  let text = ''
  for await (const chunk of response.body!) {
    text += Buffer.from(chunk).toString()
    for (let end = text.indexOf('\n\n\n\n'); end >= 0; end = text.indexOf('\n\n\n\n')) {
      yield JSON.parse(text.slice(0, end)) as Json
      text = text.slice(end + 4)
    }
  }
}

t.test('a stream brings each new map, and ends with its bucket', async t => {
  const { daemon } = await start(t)
  const client = await connectKv(t, daemon)
  await client.createBucket('other')
  await client.selectBucket('other')
  const giveUp = new AbortController()
  t.teardown(() => giveUp.abort())
  const maps = mapsOf(daemon, 'other', giveUp.signal)
  const first = (await maps.next()).value as Json
  t.equal(first['name'], 'other')
  await client.setVbucketState(7, VbucketState.dead)
  const second = (await maps.next()).value as Json
  t.ok(second['rev'] > first['rev'])
  t.same(second['vBucketServerMap'].vBucketMap[7], [-1])
  await client.deleteBucket('other')
  t.equal((await maps.next()).done, true)
})

t.test('there are as many streams of maps as may be', async t => {
  const { daemon, page } = await start(t, '--map-streams-max', '1')
  const giveUp = new AbortController()
  t.teardown(() => giveUp.abort())
  const maps = mapsOf(daemon, 'default', giveUp.signal)
  await maps.next()
  t.equal((await page('/pools/default/bs/default')).status, 503)
  t.equal((await page('/pools/default/b/default')).status, 200)
  t.equal(await daemon.stop(), 0, 'a stream does not hold up the stop')
})

t.test('buckets are made, shown, changed, emptied and removed', async t => {
  const { daemon, page } = await start(t)
  const made = await page(
    '/pools/default/buckets',
    form({ name: 'travel', ramQuotaMB: '100', numVBuckets: '8', replicaNumber: '1' }),
  )
  t.equal(made.status, 202)
  const shown = (await page('/pools/default/buckets/travel')).json
  t.match(shown, { name: 'travel', bucketType: 'membase', numVBuckets: 8, controllers: {} })
  t.equal(shown['quota'].rawRAM, 100 * 2 ** 20)
  t.match(shown['nodes'], [{ services: ['kv'], ports: { direct: daemon.port } }])
  const all: Json[] = (await page('/pools/default/buckets')).json
  t.same(new Set(all.map(each => each['name'])), new Set(['default', 'travel']))

  const client = await connectKv(t, daemon, { bucket: 'travel' })
  await client.set('k', 'v')
  const flush = '/pools/default/buckets/travel/controller/doFlush'
  const refused = await page(flush, { method: 'POST' })
  t.equal(refused.status, 400)
  t.match(refused.text, /Flush is disabled/)
  t.equal(await statusOf(client.flush()), Status.notSupported)
  t.ok(await client.get('k'))

  t.equal((await page('/pools/default/buckets/travel', form({ flushEnabled: '1' }))).status, 200)
  const { controllers } = (await page('/pools/default/buckets/travel')).json
  t.same(controllers, { flush })
  t.equal((await page(flush, { method: 'POST' })).status, 200)
  t.equal(await client.get('k'), undefined)
  t.equal(await daemon.stop(), 0)

  const second = await startDaemon(t, { data: daemon.data, flags: ['--vbuckets', '16'] })
  const again = pagesOf(second)
  const kept = (await again('/pools/default/buckets/travel')).json
  t.match(kept, { numVBuckets: 8, controllers: { flush }, quota: { rawRAM: 100 * 2 ** 20 } })
  t.equal((await again('/pools/default/buckets/travel', { method: 'DELETE' })).status, 200)
  t.equal((await again('/pools/default/buckets/travel')).status, 404)
  t.equal((await again('/pools/default/buckets/travel', { method: 'DELETE' })).status, 404)
})

t.test('a form that asks for what is not there is refused by field', async t => {
  const { page } = await start(t, '--buckets-max', '1')
  const create = (fields: Record<string, string>) =>
    page('/pools/default/buckets', form({ ramQuotaMB: '1', ...fields }))
  for (const [field, fields] of Object.entries({
    name: {},
    ramQuotaMB: { name: 'b', ramQuotaMB: 'much' },
    bucketType: { name: 'b', bucketType: 'memcached' },
    numVBuckets: { name: 'b', numVBuckets: '100' },
    maxTTL: { name: 'b', maxTTL: '60' },
    conflictResolutionType: { name: 'b', conflictResolutionType: 'lww' },
    _: { name: 'b' },
  })) {
    const { status, json } = await create(fields)
    t.equal(status, 400, field)
    t.same(Object.keys(json['errors']), [field])
  }
  const taken = await create({ name: 'default' })
  t.equal(taken.json['errors'].name, 'Bucket with given name already exists')
  t.match((await create({ name: '../b' })).json['errors'].name, /no name for a bucket/)
  const fixed = await page('/pools/default/buckets/default', form({ numVBuckets: '8' }))
  t.match(fixed.json['errors'].numVBuckets, /fixed/)
})

t.test('the shape of a bucket made over the wire is kept', async t => {
  const { daemon, page } = await start(t)
  const client = await connectKv(t, daemon)
  await client.createBucket('b', 'max_vbuckets=4;max_size=1048576;flush_enabled=true;other=1')
  t.match((await page('/pools/default/buckets/b')).json, {
    numVBuckets: 4,
    quota: { rawRAM: 2 ** 20 },
    controllers: { flush: '/pools/default/buckets/b/controller/doFlush' },
  })
  for (const wrong of ['max_vbuckets=3', 'max_vbuckets=2048', 'max_size=-1', 'flush_enabled=1']) {
    t.equal(await statusOf(client.createBucket('c', wrong)), Status.invalidArguments)
  }
})
