import { join } from 'node:path'
import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { runCommandLine } from './command-line.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const run = (...words: string[]) => runCommandLine(daemon.port, words)
const done = { code: 0, stdout: '', stderr: '' }
const inOrders = ['--collection', 'shop.orders']

t.test('scopes and collections are made, listed and dropped', async t => {
  t.match(await run('scope', 'create', 'shop'), done)
  t.match(await run('scope', 'create', 'brief'), done)
  t.match(await run('collection', 'create', 'shop.orders'), done)
  t.match(await run('collection', 'create', 'shop.baskets', '--max-ttl', '60'), done)
  t.match(await run('collection', 'create', 'fruit'), done)
  t.match(await run('scope', 'list'), { ...done, stdout: '_default\nshop\nbrief' })
  const names = ['_default._default', '_default.fruit', 'shop.orders', 'shop.baskets']
  t.match(await run('collection', 'list'), { ...done, stdout: names.join('\n') })
  t.match(await run('scope', 'drop', 'brief'), done)
  t.match(await run('collection', 'drop', 'fruit'), done)
  const { stdout } = await run('collection', 'list', '--json')
  t.match(JSON.parse(stdout), {
    uid: '7',
    scopes: [
      { name: '_default', collections: [{ name: '_default' }] },
      { name: 'shop', collections: [{ name: 'orders' }, { name: 'baskets', maxTtlSeconds: 60 }] },
    ],
  })
})

t.test('what cannot be made or dropped is told in one line', async t => {
  for (const [words, stderr] of [
    [['scope', 'create', 'shop'], /keyExists: there is a scope shop\n$/],
    [['collection', 'create', 'shop.orders'], /there is a collection shop.orders\n$/],
    [['collection', 'create', 'none.c'], /unknownScope: there is no scope none\n$/],
    [['scope', 'drop', 'none'], /unknownScope/],
    [['collection', 'drop', 'shop.none'], /unknownCollection: there is no collection shop.none/],
    [['scope', 'drop', '_default'], /the scope _default is missing/],
    [['get', 'k', '--collection', 'shop.none'], /unknownCollection/],
  ] as const) {
    t.match(await run(...words), { code: 1, stderr }, words.join(' '))
  }
  for (const words of [
    ['scope', 'create', '_own'],
    ['collection', 'create', 'shop.a:b'],
    ['get', 'k', '--collection', 'a.b.c'],
    ['collection', 'create', 'shop.c', '--max-ttl', 'long'],
    ['stream', '--scope', 'shop', '--all-collections'],
    ['stream', '--scope', 'shop', ...inOrders],
  ]) {
    t.match(await run(...words), { code: 2 }, words.join(' '))
  }
})

t.test('two who change the manifest at a time both have their way', async t => {
  const names = Array.from({ length: 4 }, (_, index) => `shop.at-once-${index}`)
  const results = await Promise.all(names.map(name => run('collection', 'create', name)))
  for (const result of results) t.match(result, done)
  const { stdout } = await run('collection', 'list')
  for (const name of names) t.ok(stdout.split('\n').includes(name), name)
})

t.test('documents in a collection are stored, read, streamed and deleted', async t => {
  t.match(await run('set', 'k', 'default'), done)
  t.match(await run('set', 'k', 'order', ...inOrders), done)
  t.match(await run('get', 'k', ...inOrders), { ...done, stdout: 'order' })
  t.match(await run('get', 'k'), { ...done, stdout: 'default' })
  t.match(await run('del', 'k', ...inOrders), done)
  t.match(await run('get', 'k', ...inOrders), { code: 1 })

  const stream = async (...words: string[]) => {
    const result = await run('stream', '--until-now', ...words)
    t.match(result, { code: 0, stderr: '' })
    const lines = result.stdout.split('\n').filter(Boolean)
    return lines.map(line => JSON.parse(line) as Record<string, unknown>)
  }
  const plain = await stream()
  t.match(plain, [{ type: 'mutation', key: 'k' }])
  t.notOk('collection' in plain[0]!)
  const orders = { collection: 'shop.orders', collectionId: '8' }
  const created = {
    ...orders,
    type: 'collection-created',
    scopeId: '8',
    manifestUid: '3',
    maxTTL: 0,
  }
  const lines = await stream(...inOrders)
  t.equal(lines.filter(({ type }) => type === 'collection-created').length, 4, 'in each vbucket')
  t.match(
    lines.find(({ type }) => type === 'collection-created'),
    created,
  )
  t.match(
    lines.filter(({ key }) => key === 'k'),
    [{ ...orders, type: 'deletion' }],
  )
  const both = await stream(...inOrders, '--collection', '_default._default', '--keys-only')
  t.equal(both.filter(({ key }) => key === 'k').length, 2)
  const scope = await stream('--scope', 'shop')
  t.match(
    scope.find(({ type }) => type === 'scope-created'),
    { scope: 'shop', scopeId: '8' },
  )
  t.notOk(scope.some(({ collection }) => collection === '_default._default'))

  const file = ['--resume-file', join(t.testdir(), 'position')]
  const all = await stream('--all-collections', ...file)
  t.equal(all.filter(({ key }) => key === 'k').length, 2)
  t.same(await stream('--all-collections', ...file), [])
  t.match(await run('stream', '--until-now', ...file), { code: 4, stderr: /saved state/ })
})
