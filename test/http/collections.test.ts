/** The pages for scopes and collections, as clients call them, on a daemon as a process. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { connectKv } from '../integration/clients.ts'
import { writeUsers } from '../support/access.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

type Json = ReturnType<typeof JSON.parse>

const scopes = '/pools/default/buckets/default/scopes'
const collections = `${scopes}/shop/collections`

function pagesOf(daemon: DaemonProcess, headers: Record<string, string> = {}) {
  return async (method: string, path: string, fields?: Record<string, string>) => {
    const response = await fetch(`http://127.0.0.1:${daemon.httpPort}${path}`, {
      method,
      headers,
      ...(fields && { body: new URLSearchParams(fields) }),
    })
    const text = await response.text()
    const json = (text.startsWith('{') ? JSON.parse(text) : {}) as Json
    return { status: response.status, text, json }
  }
}

async function start(t: Test) {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
  return { daemon, page: pagesOf(daemon) }
}

t.setTimeout(120_000)

const made = (uid: string) => ({ status: 200, json: { uid } })

t.test('scopes and collections are made, listed, changed and dropped', async t => {
  const { daemon, page } = await start(t)
  t.match(await page('POST', scopes, { name: 'shop' }), made('1'))
  t.match(await page('POST', collections, { name: 'orders', maxTTL: '60' }), made('2'))
  const plain = { name: 'plain', maxTTL: '-1', history: 'false' }
  t.match(await page('POST', collections, plain), made('3'))
  t.same((await page('GET', scopes)).json, {
    uid: '3',
    scopes: [
      { name: '_default', uid: '0', collections: [{ name: '_default', uid: '0' }] },
      {
        name: 'shop',
        uid: '8',
        collections: [
          { name: 'orders', uid: '8', maxTTL: 60 },
          { name: 'plain', uid: '9' },
        ],
      },
    ],
  })
  t.match(await page('POST', `${scopes}/@ensureManifest/3`), { status: 200 })
  t.match(await page('POST', `${scopes}/@ensureManifest/4`), { status: 504 })
  t.match(await page('POST', `${scopes}/@ensureManifest/x`), { status: 400 })

  const client = await connectKv(t, daemon, { collections: true })
  const collection = 'shop.plain'
  await client.set('k', 'v', { collection })
  t.match(await client.getMeta('k', { collection }), { expiry: 0 })
  t.match(await page('PATCH', `${collections}/plain`, { maxTTL: '100' }), made('4'))
  await client.set('k', 'v', { collection })
  t.ok((await client.getMeta('k', { collection }))!.expiry > 0)
  t.match(await page('PATCH', `${collections}/plain`, { history: 'false' }), made('5'))
  t.match((await page('GET', scopes)).json['scopes'][1].collections[1], { maxTTL: 100 })

  t.match(await page('DELETE', `${collections}/orders`), made('6'))
  t.match(await page('DELETE', `${scopes}/shop`), made('7'))
  t.equal((await page('GET', scopes)).json['scopes'].length, 1)
  t.equal(await daemon.stop(), 0)
  const again = pagesOf(await startDaemon(t, { data: daemon.data }))
  t.equal((await again('GET', scopes)).json['uid'], '7')
})

t.test('refusals are told from one another by their words', async t => {
  const { page } = await start(t)
  await page('POST', scopes, { name: 'shop' })
  await page('POST', collections, { name: 'orders' })
  const taken = await page('POST', scopes, { name: 'shop' })
  t.match(taken, { status: 400, json: { errors: { _: 'Scope with name "shop" already exists' } } })
  const twice = await page('POST', collections, { name: 'orders' })
  t.match(twice, { status: 400, text: /Collection with name .+ already exists/ })
  for (const [method, path] of [
    ['POST', `${scopes}/none/collections`],
    ['PATCH', `${scopes}/none/collections/orders`],
    ['DELETE', `${scopes}/none/collections/orders`],
    ['DELETE', `${scopes}/none`],
  ] as const) {
    const found = await page(method, path, method === 'POST' ? { name: 'c' } : undefined)
    t.match(found, { status: 404, text: /Scope with name .+ is not found/ }, `${method} ${path}`)
  }
  for (const method of ['PATCH', 'DELETE']) {
    const found = await page(method, `${collections}/none`)
    t.match(found, { status: 404, text: /Collection with name .+ is not found/ }, method)
  }
  for (const [path, fields] of [
    [scopes, {}],
    [scopes, { name: '_hidden' }],
    [scopes, { name: 'a.b' }],
    [scopes, { name: 'n'.repeat(252) }],
    [collections, {}],
    [collections, { name: '%c' }],
    [collections, { name: 'c', maxTTL: '-2' }],
    [collections, { name: 'c', maxTTL: '2147483648' }],
    [collections, { name: 'c', maxTTL: 'long' }],
    [collections, { name: 'c', history: 'true' }],
    [collections, { name: 'c', history: 'maybe' }],
  ] as const) {
    const found = await page('POST', path, fields)
    t.equal(found.status, 400, JSON.stringify(fields))
    t.equal(Object.keys(found.json['errors']).length, 1)
  }
  t.equal((await page('DELETE', `${scopes}/_default`)).status, 400)
  for (const path of ['/pools/default/buckets/none/scopes', `${scopes}/shop`]) {
    t.equal((await page('GET', path)).status, 404, path)
  }
  t.equal((await page('POST', '/pools/default/buckets/none/scopes', { name: 's' })).status, 404)
  t.equal((await page('GET', scopes)).json['uid'], '2', 'what is refused changes nothing')
})

t.test('all scopes and collections are set at once, by name', async t => {
  const { daemon, page } = await start(t)
  await page('POST', scopes, { name: 'shop' })
  await page('POST', collections, { name: 'orders', maxTTL: '60' })
  await page('POST', collections, { name: 'old' })
  const client = await connectKv(t, daemon, { collections: true })
  await client.set('k', 'stays', { collection: 'shop.orders' })
  const put = async (body: object | string, query = '', type = 'application/json') => {
    const response = await fetch(`http://127.0.0.1:${daemon.httpPort}${scopes}${query}`, {
      method: 'PUT',
      headers: { 'content-type': type },
      body: typeof body === 'string' ? body : JSON.stringify(body),
    })
    return { status: response.status, json: (await response.json()) as Json }
  }
  const byDefault = { name: '_default', collections: [{ name: '_default' }] }
  const wanted = {
    scopes: [
      byDefault,
      { name: 'shop', collections: [{ name: 'orders' }, { name: 'new', maxTTL: 9 }] },
      { name: 'more', collections: [{ name: 'orders' }] },
      { name: 'empty', collections: [] },
    ],
  }
  t.match(await put(wanted, '?validOnUid=2'), {
    status: 400,
    json: { errors: { _: "validOnUid doesn't match the current manifest Uid" } },
  })
  t.match(await put(wanted, '?validOnUid=3'), made('4'))
  const listed = (await page('GET', scopes)).json
  t.same(listed, {
    uid: '4',
    scopes: [
      { name: '_default', uid: '0', collections: [{ name: '_default', uid: '0' }] },
      {
        name: 'shop',
        uid: '8',
        collections: [
          { name: 'orders', uid: '8' },
          { name: 'new', uid: 'a', maxTTL: 9 },
        ],
      },
      { name: 'more', uid: '9', collections: [{ name: 'orders', uid: 'b' }] },
      { name: 'empty', uid: 'a', collections: [] },
    ],
  })
  t.equal((await client.get('k', { collection: 'shop.orders' }))?.value.toString(), 'stays')
  t.match(await put(listed), made('4'), 'what it is already changes nothing')
  t.match(await put(JSON.stringify(listed), '', 'application/x-www-form-urlencoded'), made('4'))
  for (const [body, query] of [
    ['not JSON', ''],
    [{}, ''],
    [{ scopes: {} }, ''],
    [{ scopes: [byDefault], more: 1 }, ''],
    [{ scopes: [byDefault, byDefault] }, ''],
    [{ scopes: [] }, ''],
    [{ scopes: [byDefault, { name: '_hidden' }] }, ''],
    [{ scopes: [byDefault, { name: 'a.b' }] }, ''],
    [{ scopes: [byDefault, { name: 's', collections: [{ name: '_default' }] }] }, ''],
    [{ scopes: [byDefault, { name: 's', collections: [{ name: 'c', maxTTL: 'x' }] }] }, ''],
    [{ scopes: [byDefault, { name: 's', collections: [{ name: 'c', history: true }] }] }, ''],
    [listed, '?validOnUid=x'],
    [listed, '?validOnUid=4&validOnUid=4'],
  ] as const) {
    const found = await put(body, query)
    t.equal(found.status, 400, `${JSON.stringify(body)}${query}`)
    t.equal(Object.keys(found.json['errors'] as object).length, 1)
  }
  t.equal((await page('GET', scopes)).json['uid'], '4', 'what is refused changes nothing')
  t.match(await put({ scopes: [byDefault] }), made('5'))
  t.match(await put(wanted), made('6'))
  t.equal((await page('GET', scopes)).json['scopes'][1].uid, 'b', 'no uid comes back')
  const many = Array.from({ length: 1000 }, (_, i) => ({ name: `${'c'.repeat(240)}${i}` }))
  t.match(await put({ scopes: [byDefault, { name: 'many', collections: many }] }), made('7'))
})

t.test('the map of a bucket tells of a new manifest, to who follows it, too', async t => {
  const { daemon, page } = await start(t)
  const giveUp = new AbortController()
  t.teardown(() => giveUp.abort())
  const url = `http://127.0.0.1:${daemon.httpPort}/pools/default/bs/default`
  const { body } = await fetch(url, { signal: giveUp.signal })
  const decoder = new TextDecoder()
  let text = ''
  const maps: Json[] = []
  for await (const chunk of body!) {
    text += decoder.decode(chunk as Uint8Array, { stream: true })
    for (let end = text.indexOf('\n\n\n\n'); end >= 0; end = text.indexOf('\n\n\n\n')) {
      maps.push(JSON.parse(text.slice(0, end)))
      text = text.slice(end + 4)
      if (maps.length === 1) await page('POST', scopes, { name: 'shop' })
    }
    if (maps.length === 2) break
  }
  const uids = maps.map(map => map['collectionsManifestUid'] as string)
  t.same(uids, ['0', '1'])
  t.ok(maps[1]['rev'] > maps[0]['rev'])
  const client = await connectKv(t, daemon)
  t.match(await client.clusterConfig(), { collectionsManifestUid: '1' })
  t.match((await page('GET', '/pools/default/buckets/default')).json, {
    collectionsManifestUid: '1',
  })
})

t.test(
  'changes are for admins and written down, the list is for who may use the bucket',
  async t => {
    const data = join(t.testdir({ data: {} }), 'data')
    const password = 'a password of many words'
    await writeUsers(
      join(data, 'users.json'),
      { name: 'admin', password, roles: ['admin'] },
      { name: 'reader', password, roles: ['read[default]'] },
      { name: 'stranger', password, roles: ['read[other]'] },
    )
    const daemon = await startDaemon(t, { data, flags: ['--vbuckets', '4'] })
    const basic = (user: string) => ({
      authorization: `Basic ${Buffer.from(`${user}:${password}`).toString('base64')}`,
    })
    const admin = pagesOf(daemon, basic('admin'))
    t.equal((await pagesOf(daemon)('GET', scopes)).status, 401)
    t.match(await admin('POST', scopes, { name: 'shop' }), made('1'))
    const reader = pagesOf(daemon, basic('reader'))
    t.match(await reader('GET', scopes), { status: 200, json: { uid: '1' } })
    t.equal((await reader('POST', scopes, { name: 'other' })).status, 403)
    t.equal((await reader('DELETE', `${scopes}/shop`)).status, 403)
    t.equal((await reader('PUT', scopes)).status, 403)
    t.equal((await pagesOf(daemon, basic('stranger'))('GET', scopes)).status, 403)
    t.match(await admin('POST', collections, { name: 'orders' }), made('2'))
    t.match(await admin('PATCH', `${collections}/orders`, { maxTTL: '5' }), made('3'))
    t.match(await admin('DELETE', `${collections}/orders`), made('4'))
    t.match(await admin('DELETE', `${scopes}/shop`), made('5'))
    const log = readFileSync(join(daemon.data, 'audit.log'), 'utf8')
    const acts = log
      .split('\n')
      .filter(line => /"(scope|collection)-/.test(line))
      .map(line => JSON.parse(line) as Json)
    const who = {
      bucket: 'default',
      user: 'admin',
      address: '127.0.0.1',
      via: 'http',
      scope: 'shop',
    }
    t.match(acts, [
      { event: 'scope-created', ...who },
      { event: 'collection-created', ...who, collection: 'orders' },
      { event: 'collection-changed', ...who, collection: 'orders' },
      { event: 'collection-dropped', ...who, collection: 'orders' },
      { event: 'scope-dropped', ...who },
    ])
  },
)
