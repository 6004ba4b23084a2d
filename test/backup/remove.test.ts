import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { remove, type RemoveOptions } from '../../src/backup/remove/remove.ts'
import { Repository } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { buildArchive, stateOf, type History } from './archive-builder.ts'
import { failingStore } from './failing-store.ts'
import { record } from './objects.ts'
import { collect } from './store-suite.ts'

/** Four backups, each of which continues the one before. */
const histories = [1, 2, 3, 4].map(number => {
  const changes = [0, 1].map(
    vbid => [vbid, [record(number, `key-${vbid}-${number}`, 'value'.repeat(50))]] as const,
  )
  return new Map(changes) satisfies History
})

async function scene(t: Test) {
  const archive = join(t.testdir(), 'archive')
  const store = new FileStore(archive)
  const ids = await buildArchive(store, histories, { vbuckets: 2 })
  const removal = (
    selection: RemoveOptions['selection'],
    more: Partial<RemoveOptions> = {},
  ): ReturnType<typeof remove> =>
    remove({
      store,
      repository: 'r',
      selection,
      signal: new AbortController().signal,
      report: () => {},
      ...more,
    })
  const run = (...words: string[]) =>
    runCommandLine(1, [words[0]!, '--archive', archive, '--repo', 'r', ...words.slice(1)])
  const left = () => readdirSync(join(archive, 'r')).filter(name => !name.endsWith('.json'))
  return { archive, store, ids, removal, run, left }
}

t.test('the newest goes; one that others continue stays, unless told otherwise', async t => {
  const { store, ids, removal, left } = await scene(t)
  t.match(await removal({ backup: ids[3]! }), { backups: [ids[3]], objects: 3, broken: [] })
  t.same(left(), ids.slice(0, 3))
  for (const selection of [{ backup: '1' }, { from: '1', to: '2' }, { backup: ids[1]! }])
    await t.rejects(removal(selection), { code: 'chain', message: /could not be restored/ })
  t.same(left(), ids.slice(0, 3))
  t.equal((await stateOf(store, ids[2]!)).length, 6)
  const forced = await removal({ backup: '2' }, { breakChain: true })
  t.match(forced, { backups: [ids[1]], broken: [ids[2]] })
  t.same(left(), [ids[0], ids[2]])
  t.match(await removal({ from: '1' }), { backups: [ids[2], ids[0]] })
  t.same(left(), [])
})

t.test('what is not there, or not to be removed, is told', async t => {
  const { store, ids, removal, left } = await scene(t)
  await t.rejects(removal({ backup: '9' }), { code: 'missing' })
  await t.rejects(removal({ backup: '000009-20200101T000000Z' }), { code: 'missing' })
  await t.rejects(removal({ from: '3', to: '2' }), { code: 'missing', message: /newer/ })
  const unfinished = '000005-20260102T030405Z'
  await store.put(`r/${unfinished}/checkpoint.json`, Buffer.from('{}'))
  await t.rejects(removal({ backup: unfinished }), { code: 'unfinished' })
  // Of one that cannot be read nobody knows what it continues.
  await t.rejects(removal({ backup: '4' }), { code: 'chain', message: /000005/ })
  t.same(left(), [...ids, unfinished])
  t.match(await removal({ from: '3' }, { dryRun: true, breakChain: true }), { objects: 0 })
  t.same(left(), [...ids, unfinished])
})

t.test('whenever it is interrupted, what is still there is whole; run again, it ends', async t => {
  for (let operations = 0; ; operations++) {
    const { archive, store, ids, removal, left } = await scene(t)
    const upload = await store.createUpload(`r/${ids[3]}/data/9999`, 'token')
    await store.createUpload(`r/${ids[1]}/data/0001`, 'of another backup')
    const failing = failingStore(store, operations)
    const interrupted = await removal({ from: '3' }, { store: failing }).then(
      () => false,
      () => true,
    )
    // As after a crash: its lock is there, and nobody's.
    await store.remove('r/lock.json')
    const repository = await Repository.open(store, 'r')
    const complete = (await repository.backups()).filter(({ state }) => state === 'complete')
    t.same(
      complete.map(({ id }) => id),
      ids.slice(0, complete.length),
      `after ${operations} operations`,
    )
    for (const { id, number } of complete) t.equal((await stateOf(store, id)).length, 2 * number)
    const rest = left()[2]
    if (rest !== undefined) await removal({ from: rest })
    t.same(left(), ids.slice(0, 2), `after ${operations} operations`)
    t.notOk(existsSync(join(archive, '.uploads', `${upload.id}.log`)))
    t.equal((await collect(store.listUploads(''))).length, 1)
    if (!interrupted) break
  }
})

t.test('from the command line', async t => {
  const { archive, ids, run, left } = await scene(t)
  t.match(await run('remove'), { code: 2 })
  t.match(await run('remove', '--backup', '1', '--to', '2'), { code: 2 })
  const refused = await run('remove', '--backup', '1')
  t.match(refused, { code: 13, stderr: new RegExp(`${ids[3]} could not be restored`) })
  t.match(refused.stderr, /merge; or --break-chain$/m, 'what may be done instead')
  const planned = await run('remove', '--from', '3', '--dry-run')
  t.match(planned, { code: 0, stdout: `would remove ${ids[3]}\nwould remove ${ids[2]}` })
  t.same(left(), ids)
  const removed = await run('remove', '--from', '3')
  t.match(removed, { code: 0, stderr: '' })
  t.match(removed.stdout, `removed ${ids[3]}\nremoved ${ids[2]}\n2 backups, 6 objects, `)
  const broken = await run('remove', '--backup', '1', '--break-chain', '--json')
  const lines = broken.stdout.split('\n').map(line => JSON.parse(line) as object)
  t.match(lines[0], { type: 'backup', id: ids[0] })
  t.match(lines.at(-1), { type: 'complete', backups: [ids[0]], objects: 3, broken: [ids[1]] })
  await run('remove', '--backup', '2')
  t.match((await run('info')).stdout, /^r: .*\nno backup is in it$/)
  t.notOk(existsSync(join(archive, 'r/lock.json')))
})
