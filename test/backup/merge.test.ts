import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import { clientClock } from '../../src/client/client-clock.ts'
import type { Secret } from '../../src/backup/archive/repository-key.ts'
import { merge, type MergeOptions } from '../../src/backup/merge/merge.ts'
import { Repository } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { verify } from '../../src/backup/verify/verify.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { anyHistories, buildArchive, stateOf, type History } from './archive-builder.ts'
import { failingStore } from './failing-store.ts'
import { readIndependently } from './independent-reader.ts'
import { MemoryStore } from './memory-store.ts'
import { record } from './objects.ts'
import { byKey } from './scene.ts'
import { collect } from './store-suite.ts'

const secret: Secret = { kind: 'key-file', bytes: randomBytes(32) }
const { signal } = new AbortController()

/** A store that fails is asked again at once. */
const clock = {
  ...clientClock,
  after: (_delayMs: number, callback: () => void) => clientClock.after(0, callback),
}

const mergeIn = (
  store: ObjectStore,
  range: MergeOptions['range'],
  more: Partial<MergeOptions> = {},
): ReturnType<typeof merge> =>
  merge({
    store,
    repository: 'r',
    range,
    blockBytes: 1000,
    segmentBytes: 3000,
    clock,
    signal,
    report: () => {},
    ...more,
  })

async function check(store: ObjectStore, secret?: Secret): Promise<string[]> {
  const damages: string[] = []
  await verify({
    store,
    repository: 'r',
    secret,
    samplePercent: 100,
    signal,
    report: event => event.type === 'damage' && damages.push(event.message),
  })
  return damages
}

/** Every object below the repository, and every upload, is one that a manifest names. */
async function strays(store: ObjectStore): Promise<string[]> {
  const repository = await Repository.open(store, 'r')
  const own = new Set(['r/repository.json'])
  for (const { id, document } of await repository.backups()) {
    if (!document) continue
    const { objects } = await repository.manifest(document, undefined)
    const names = ['backup.json', document.manifest.key ?? 'manifest.json']
    for (const name of [...names, ...objects.map(({ key }) => key)]) own.add(`r/${id}/${name}`)
  }
  const listed = [...(await collect(store.list('r/'))), ...(await collect(store.listUploads('')))]
  return listed.map(({ key }) => key).filter(key => !own.has(key))
}

const idsIn = async (store: ObjectStore) =>
  (await (await Repository.open(store, 'r')).backups()).map(({ id }) => id)

t.test('whatever the backups have, merged they restore to the same', async t => {
  await fc.assert(
    fc.asyncProperty(
      anyHistories,
      fc.nat(),
      fc.nat(),
      fc.record({
        secret: fc.constantFrom(undefined, secret),
        compression: fc.constantFrom('none' as const, 'snappy' as const),
        keysMax: fc.constantFrom(3, 1000),
        interrupted: fc.option(fc.nat(30), { nil: undefined }),
      }),
      async (histories, one, other, options) => {
        const { secret, compression, keysMax, interrupted } = options
        const store = new MemoryStore()
        const ids = await buildArchive(store, histories, { vbuckets: 4, secret, compression })
        const last = await stateOf(store, ids.at(-1)!, secret)
        const from = one % (ids.length - 1)
        const to = from + 1 + (other % (ids.length - 1 - from))
        const range = { from: ids[from]!, to: ids[to]! }
        const asOfTo = await stateOf(store, range.to, secret)
        if (interrupted !== undefined) {
          const failing = failingStore(store, interrupted)
          await mergeIn(failing, range, { secret, keysMax }).catch(() => {})
          await store.remove('r/lock.json')
        }
        const { backup } = await mergeIn(store, range, { secret, keysMax })
        t.equal(backup.id, range.to)
        t.same(await stateOf(store, range.to, secret), asOfTo)
        t.same(await stateOf(store, ids.at(-1)!, secret), last)
        t.same(await idsIn(store), [...ids.slice(0, from), ...ids.slice(to)])
        t.same(await check(store, secret), [])
        t.same(await strays(store), [])
      },
    ),
    { numRuns: 30 },
  )
})

/** One vbucket is in all backups, one in two of them, one in the first and one in the last. */
const histories: History[] = [1, 2, 3].map(number => {
  const many = Array.from({ length: 40 }, (_, at) =>
    record(number * 100 + at, `k${at * number}`, 'x'.repeat(200)),
  )
  const history = new Map([[0, many]])
  if (number < 3) history.set(1, [record(number, 'one', `${number}`)])
  if (number === 1) history.set(2, [record(1, 'first', '1')])
  if (number === 3) history.set(3, [{ ...record(1, 'last', ''), kind: 2 }])
  return history
})

async function scene(store: ObjectStore = new MemoryStore()) {
  const ids = await buildArchive(store, histories, { vbuckets: 4, compression: 'none' })
  return { store, ids }
}

t.test('whenever it is interrupted nothing is lost, and run again it ends the same', async t => {
  for (const lost of [false, true]) {
    for (let changes = 0, wasInterrupted = true; wasInterrupted; changes++) {
      const { store, ids } = await scene()
      const before = await stateOf(store, ids[2]!)
      const failing = failingStore(store, changes, lost)
      const merging = mergeIn(failing, { from: '1', to: '3' }, { threads: 1 })
      wasInterrupted = await merging.then(
        () => failing.changes === changes,
        () => true,
      )
      await store.remove('r/lock.json')
      const told = `${changes} changes, the next ${lost ? 'lost' : 'failed'}`
      t.same(await stateOf(store, ids[2]!), before, told)
      t.same(await check(store), [], told)
      const { merged, backup } = await mergeIn(store, { from: '1', to: '3' })
      t.same(merged, ids)
      t.match(backup, { id: ids[2], type: 'full', counts: { mutation: 81, deletion: 1 } })
      t.equal(backup.previous, undefined)
      t.same(await stateOf(store, ids[2]!), before, told)
      t.same(await idsIn(store), [ids[2]], told)
      t.same(await strays(store), [], told)
    }
  }
})

t.test('an interrupted merge is gone on with, unless another one is wanted', async t => {
  const { store, ids } = await scene()
  const notes: string[] = []
  const report: MergeOptions['report'] = event => event.type === 'note' && notes.push(event.message)
  const interrupt = async () => {
    const stop = new AbortController()
    const put = store.put.bind(store)
    store.put = async (key, bytes) => {
      await put(key, bytes)
      if (/\/data-\d+\/0001$/.test(key)) stop.abort(new Error('stopped'))
    }
    const more = { threads: 1, signal: stop.signal }
    await t.rejects(mergeIn(store, { from: '1', to: '3' }, more), { message: 'stopped' })
    store.put = put
  }
  await interrupt()
  await mergeIn(store, { from: '2', to: '3' }, { report })
  t.match(notes, [/removing what an interrupted merge has left in 000003/, /removing 000002/])
  t.same(await idsIn(store), [ids[0], ids[2]])
  const repository = await Repository.open(store, 'r')
  t.match(await repository.backup(ids[2]!), { type: 'incremental', previous: ids[0] })
  t.same(await strays(store), [])
  notes.length = 0
  await interrupt()
  await mergeIn(store, { from: '1', to: '3' }, { report })
  t.match(notes[0], /going on: \d vbuckets are done/)
  t.same(await strays(store), [])
})

t.test('what does not continue each other is not merged', async t => {
  const { store, ids } = await scene()
  for (const range of [{ from: '3', to: '2' }, { from: '3' }, { to: '9' }, { to: '1' }])
    await t.rejects(mergeIn(store, range), { code: 'missing' })
  const unfinished = '000004-20260102T030405Z'
  await store.put(`r/${unfinished}/checkpoint.json`, Buffer.from('{}'))
  await t.rejects(mergeIn(store, { from: '1' }), { code: 'chain', message: /000004/ })
  t.same(await idsIn(store), [...ids, unfinished])
})

t.test('from the command line; an independent program reads what comes of it', async t => {
  const archive = join(t.testdir(), 'archive')
  const { ids } = await scene(new FileStore(archive))
  const expected = byKey(await readIndependently(archive, 'r'))
  const run = (...words: string[]) =>
    runCommandLine(1, ['merge', '--archive', archive, '--repo', 'r', ...words])
  t.match(await run(), { code: 2, stderr: /--from, --to, or both/ })
  t.match(await run('--from', '1', '--to', '2'), {
    code: 0,
    stdout: /^000002-\S+ full, of 2 backups: 62 mutations, 0 deletions/,
    stderr: /merging 000001-\S+, 000002-/,
  })
  const second = await run('--to', ids[2]!, '--json')
  const lines = second.stdout.split('\n').map(line => JSON.parse(line) as object)
  t.match(lines.at(-1), { type: 'complete', merged: ids.slice(1), backup: { id: ids[2] } })
  t.same(byKey(await readIndependently(archive, 'r')), expected)
  t.same(readdirSync(join(archive, 'r')), [ids[2], 'repository.json'])
  const again = await run('--from', '1', '--to', '3')
  t.match(again, { code: 0, stdout: /^000003-\S+ full, of 3 backups/ })
})
