import { randomBytes } from 'node:crypto'
import { setTimeout as delay } from 'node:timers/promises'
import t from 'tap'
import { checkStore } from '../../src/backup/check/check-store.ts'
import { examine } from '../../src/backup/examine/examine.ts'
import { merge } from '../../src/backup/merge/merge.ts'
import { remove } from '../../src/backup/remove/remove.ts'
import { Repository } from '../../src/backup/repository.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { verify } from '../../src/backup/verify/verify.ts'
import { CommandLine, runCommandLine } from '../cli/command-line.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { buildArchive, stateOf, type History } from './archive-builder.ts'
import { failingStore } from './failing-store.ts'
import { record } from './objects.ts'
import { hurriedClock, smallPartBytes, SmallPartsStore } from './s3-scene.ts'
import { collect } from './store-suite.ts'

const gateway = await startRadosgw(t, { partBytesMin: smallPartBytes })
Object.assign(process.env, gateway.environment)
const open = (prefix: string) => {
  const store = new SmallPartsStore(gateway.bucket, prefix)
  t.teardown(() => store.close())
  return store
}
const run = (prefix: string, ...words: string[]) => {
  const archive = `s3://${gateway.bucket}/${prefix}`
  return [...words, '--archive', archive, '--s3-path-style']
}

const { signal } = new AbortController()
const common = { repository: 'r', clock: hurriedClock, signal, report: () => {} }
/** What has to be cut into parts, in three backups; and what only some of them have. */
const histories: History[] = [1, 2, 3].map(number => {
  const large = Array.from({ length: 40 }, (_, at) =>
    record(number * 100 + at, `k${at * number}`, randomBytes(1000).toString('base64')),
  )
  const history = new Map([[0, large]])
  if (number === 1) history.set(1, [record(1, 'first', '1')])
  if (number === 3) history.set(2, [{ ...record(1, 'last', ''), kind: 2 }])
  return history
})
const options = { vbuckets: 4, compression: 'none', segmentBytes: smallPartBytes } as const

/** Every object is one that a manifest names, and there is no upload. */
async function isClean(store: ObjectStore): Promise<boolean> {
  const repository = await Repository.open(store, 'r')
  const own = new Set(['archive.json', 'r/repository.json'])
  for (const { id, document } of await repository.backups()) {
    if (!document) return false
    const { objects } = await repository.manifest(document, undefined)
    const names = ['backup.json', document.manifest.key ?? 'manifest.json']
    for (const name of [...names, ...objects.map(({ key }) => key)]) own.add(`r/${id}/${name}`)
  }
  const keys = (await collect(store.list(''))).map(({ key }) => key)
  return (
    (await collect(store.listUploads(''))).length === 0 &&
    keys.length === own.size &&
    keys.every(key => own.has(key))
  )
}

t.test('the store can do what backups need, and nothing is left in it', async t => {
  const store = open('checked')
  const result = await checkStore({ store, signal, report: () => {} })
  t.match(result, { failed: 0, left: [] })
  t.same(await collect(store.list('')), [])
  t.same(await collect(store.listUploads('')), [])
  // With parts of 5 MiB, as Amazon takes them.
  const checked = await runCommandLine(
    1,
    run('checked', 'storage', 'check'),
    '',
    gateway.environment,
  )
  t.match(checked, { code: 0, stdout: /a part of 5242880 bytes, followed by another/ })
  t.same(await collect(store.list('')), [])
  const stranger = { ...gateway.environment, AWS_SECRET_ACCESS_KEY: 'another' }
  const refused = await runCommandLine(1, run('checked', 'storage', 'check'), '', stranger)
  t.match(refused, { code: 14, stdout: /^failed +put .*secret key/ })
})

t.test('a key is found by the indexes', async t => {
  const store = open('examined')
  // Of one vbucket, which every key is in.
  const own = histories.map(history => new Map([[0, history.get(0)!]]))
  await buildArchive(store, own, {
    ...options,
    vbuckets: 1,
    segmentBytes: 200_000,
    blockBytes: 4000,
  })
  const revnos: number[] = []
  const result = await examine({
    ...common,
    store,
    key: Buffer.from('k6'),
    found: ({ record }) => Promise.resolve(void revnos.push(record.seqno)),
  })
  t.same(revnos, [106, 203, 302])
  t.match(result, { backups: 3, versions: 3 })
})

t.test('a merge that is interrupted loses nothing, and is gone on with', async t => {
  let made = 0
  // At every place with the store in memory; here at some.
  for (const changes of [3, 9, 16, 1000]) {
    const store = open(`merged/${changes}`)
    const ids = await buildArchive(store, histories, options)
    const before = await stateOf(store, ids[2]!)
    const range = { from: '1', to: '3' }
    const sizes = { segmentBytes: smallPartBytes, blockBytes: 4096, threads: 1 }
    const failing = failingStore(store, changes, changes % 2 === 1)
    await merge({ ...common, ...sizes, store: failing, range }).catch(() => {})
    made = failing.changes
    await store.remove('r/lock.json')
    t.same(await stateOf(store, ids[2]!), before, `after ${changes} changes`)
    const { backup } = await merge({ ...common, ...sizes, store, range })
    t.match(backup, { id: ids[2], type: 'full', counts: { mutation: 80, deletion: 1 } })
    t.same(await stateOf(store, ids[2]!), before)
    t.ok(await isClean(store), `after ${changes} changes`)
    const checked = await verify({ ...common, store, samplePercent: 100 })
    t.match(checked, { backups: 1, damages: 0 })
  }
  t.ok(made > 20 && made < 1000, `${made} changes`)
})

t.test('killed in the middle of a merge, it is gone on with', async t => {
  const store = open('killed')
  const ids = await buildArchive(store, histories, options)
  const before = await stateOf(store, ids[2]!)
  const words = run('killed', 'merge', '--repo', 'r', '--from', '1', '--threads', '1')
  const slow = new CommandLine(1, [...words, '--request-limit', '5'], gateway.environment)
  while (
    (await store.size(`r/${ids[2]}/merge.json`)) === undefined &&
    slow.process.exitCode === null
  )
    await delay(20)
  slow.process.kill('SIGKILL')
  t.match(await slow.finished, { code: 'SIGKILL' })
  t.same(await stateOf(store, ids[2]!), before)
  t.match(await runCommandLine(1, words, '', gateway.environment), { code: 0 })
  t.same(await stateOf(store, ids[2]!), before)
  t.ok(await isClean(store))
})

t.test('a removal that is interrupted leaves whole backups, and nothing in the end', async t => {
  for (const changes of [3, 5, 1000]) {
    const store = open(`removed/${changes}`)
    const ids = await buildArchive(store, histories, options)
    const selection = { from: '2' }
    const failing = failingStore(store, changes, changes % 2 === 0)
    await remove({ ...common, store: failing, selection }).catch(() => {})
    await store.remove('r/lock.json')
    const repository = await Repository.open(store, 'r')
    const listed = await repository.backups()
    for (const { id, state } of listed) if (state === 'complete') await stateOf(store, id)
    if (listed.length > 1) await remove({ ...common, store, selection: { from: listed[1]!.id } })
    t.same(
      (await repository.backups()).map(({ id }) => id),
      ids.slice(0, 1),
    )
    t.ok(await isClean(store), `after ${changes} changes`)
  }
})
