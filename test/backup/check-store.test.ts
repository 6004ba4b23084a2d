import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { checkStore, type ProbeEvent } from '../../src/backup/check/check-store.ts'
import { BackupError } from '../../src/backup/errors.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { MemoryStore } from './memory-store.ts'
import { altered } from './s3-scene.ts'
import { collect } from './store-suite.ts'

async function check(store: ObjectStore, timeoutMs = 60_000) {
  const events: ProbeEvent[] = []
  const report = (event: ProbeEvent) => void events.push(event)
  const { signal } = new AbortController()
  const result = await checkStore({ store, timeoutMs, signal, report })
  const named = (wanted: ProbeEvent['result']) =>
    events.filter(({ result }) => result === wanted).map(({ name }) => name)
  return { result, events, failed: named('failed'), limited: named('limited') }
}

t.test('stores that can do everything, and nothing is left in them', async t => {
  const root = join(t.testdir(), 'archive')
  for (const store of [new FileStore(root), new MemoryStore()]) {
    const { result, events } = await check(store)
    t.match(result, { ok: 13, limited: 0, failed: 0, left: [] })
    t.same(
      events.filter(({ message }) => message === ''),
      [],
    )
    t.same(await collect(store.list('')), [])
    t.same(await collect(store.listUploads('')), [])
  }
  t.same(readdirSync(root), ['.uploads'])
})

const refused = () => {
  throw new BackupError('store', 'these credentials may not do that')
}

t.test('what a store cannot do is found, each by its probe', async t => {
  const store = new MemoryStore()
  const cases: [Partial<ObjectStore>, string[]][] = [
    [{ size: () => Promise.resolve(7) }, ['read', 'remove']],
    [{ read: (key, range) => store.read(key, range && { start: 0, end: 3 }) }, ['range']],
    [{ listFolders: () => Promise.resolve([]) }, ['list']],
    [{ modifiedMs: () => Promise.resolve(Date.now() - 600_000) }, ['clock']],
    [{ createUpload: refused }, ['upload', 'complete', 'copy part', 'abort']],
    [{ isCompleted: () => Promise.resolve(true) }, ['complete']],
    [{ copyPart: refused }, ['copy part']],
  ]
  for (const [methods, names] of cases) {
    const { failed, result } = await check(altered(store, methods))
    t.same(failed, names)
    t.equal(result.failed, names.length)
    t.same(await collect(store.list('')), [])
    t.same(await collect(store.listUploads('')), [])
  }
})

t.test('without the permission to list uploads, or to remove, that is said', async t => {
  const store = new MemoryStore()
  const blind = await check(altered(store, { listUploads: refused }))
  t.same(blind.failed, ['list uploads'])
  t.match(blind.result.left, [/these credentials may not do that/])
  const keeping = await check(altered(new MemoryStore(), { remove: () => Promise.resolve() }))
  t.same(keeping.failed, ['remove'])
  t.ok(keeping.result.left.length > 3)
})

t.test('a store that lets many put what is absent is limited, not more', async t => {
  const store = new MemoryStore()
  const putIfAbsent: ObjectStore['putIfAbsent'] = async (key, bytes) => {
    if (key.endsWith('/lock')) return await store.putIfAbsent(key, bytes)
    await store.put(key, bytes)
    return true
  }
  const { failed, limited } = await check(altered(store, { putIfAbsent }))
  t.same(failed, [])
  t.same(limited, ['put if absent'])
})

t.test('it ends in time, and at once where nothing can be put', async t => {
  const hanging = altered(new MemoryStore(), { listParts: () => new Promise<never>(() => {}) })
  const late = await check(hanging, 400)
  t.same(late.failed.slice(0, 1), ['upload'])
  t.match(
    late.events.find(({ name }) => name === 'upload'),
    { message: /too long/ },
  )
  const closed = await check(altered(new MemoryStore(), { put: refused }))
  t.same(closed.failed, ['put'])
  t.equal(closed.events.length, 1)
})

t.test('from the command line', async t => {
  const archive = join(t.testdir({ file: 'no folder' }), 'archive')
  const run = (place: string, ...words: string[]) =>
    runCommandLine(1, ['storage', 'check', '--archive', place, ...words])
  const table = await run(archive)
  t.match(table, { code: 0, stderr: '', stdout: /^ok +put +\d+ ms +an object is put/ })
  t.match(table.stdout, /\n13 ok, 0 limited, 0 failed$/)
  const lines = (await run(archive, '--json')).stdout.split('\n')
  t.match(JSON.parse(lines[0]!), { type: 'probe', name: 'put', result: 'ok' })
  t.match(JSON.parse(lines.at(-1)!), { type: 'complete', ok: 13, failed: 0, left: [] })
  const nowhere = await run(join(t.testdirName, 'file'))
  t.match(nowhere, { code: 14, stdout: /^failed +put/, stderr: /cannot do what backups need/ })
  t.notOk(existsSync(join(archive, 'archive.json')))
})
