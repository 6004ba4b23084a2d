import { randomBytes } from 'node:crypto'
import { readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t from 'tap'
import {
  encodeDocument,
  type BackupDocument,
  type Manifest,
} from '../../src/backup/archive/documents.ts'
import type { Secret } from '../../src/backup/archive/repository-key.ts'
import { Repository, sealOf } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { verify, type VerifyEvent, type VerifyOptions } from '../../src/backup/verify/verify.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { anyHistories, buildArchive, type History } from './archive-builder.ts'
import { MemoryStore } from './memory-store.ts'
import { record } from './objects.ts'

/** Of a type in which everything is readonly, one that a test may change. */
type Changeable<T> = { -readonly [Name in keyof T]: Changeable<T[Name]> }

const { signal } = new AbortController()

/** Vbucket 0 changes in each of three backups, vbucket 1 in the first and the last. */
const histories = [1, 2, 3].map(number => {
  const history = new Map([[0, [record(10 * number, `a-${number}`, 'x')]]])
  if (number !== 2) history.set(1, [record(number, `b-${number}`, 'y')])
  return history satisfies History
})

async function scene(store: ObjectStore = new MemoryStore()) {
  const ids = await buildArchive(store, histories, { vbuckets: 2 })
  const look = async (more: Partial<VerifyOptions> = {}) => {
    const events: VerifyEvent[] = []
    const result = await verify({
      store,
      repository: 'r',
      samplePercent: 100,
      signal,
      report: event => events.push(event),
      ...more,
    })
    const damages = events.flatMap(event => (event.type === 'damage' ? [event.message] : []))
    const notes = events.flatMap(event => (event.type === 'note' ? [event.message] : []))
    return { result, damages, notes, last: events.at(-1) }
  }
  /** Changes what a backup says of itself, so that each document still is what the others tell of it. */
  const alter = async (
    id: string,
    change: (manifest: Changeable<Manifest>, backup: Changeable<BackupDocument>) => void,
  ) => {
    const repository = await Repository.open(store, 'r')
    const backup = structuredClone(await repository.backup(id))!
    const manifest = structuredClone(await repository.manifest(backup, undefined))
    change(manifest as Changeable<Manifest>, backup)
    const bytes = encodeDocument(manifest)
    await store.put(`r/${id}/manifest.json`, bytes)
    await store.put(
      `r/${id}/backup.json`,
      encodeDocument({ ...backup, manifest: sealOf(bytes, undefined) }),
    )
  }
  return { store, ids, look, alter }
}

t.test('in what a backup makes of any bucket nothing is wrong', async t => {
  const secret: Secret = { kind: 'key-file', bytes: randomBytes(32) }
  await fc.assert(
    fc.asyncProperty(anyHistories, async histories => {
      const store = new MemoryStore()
      await buildArchive(store, histories, { vbuckets: 4, secret })
      const report = (event: VerifyEvent) => t.equal(event.type, 'progress')
      const all = { store, repository: 'r', secret, samplePercent: 100, signal, report }
      t.match(await verify(all), { backups: histories.length, damages: 0 })
    }),
    { numRuns: 20 },
  )
})

t.test('its progress ends with all that there is', async t => {
  const { look } = await scene()
  const { result, last } = await look()
  t.match(result, { backups: 3, objects: 5, objectsRead: 5, records: 5, damages: 0 })
  t.match(last, { type: 'progress', records: 5, bytes: result.bytesRead })
  t.match(last, { bytesTotal: result.bytesRead })
  const quick = await look({ samplePercent: 0 })
  t.match(quick.last, { records: 0, bytesRead: 0, bytes: result.bytesRead })
})

const seams: readonly [
  string,
  (manifest: Changeable<Manifest>, backup: Changeable<BackupDocument>) => void,
  RegExp,
][] = [
  [
    'a vbucket goes back',
    ({ vbuckets }) => Object.assign(vbuckets[1]!, { seqno: 0, snapshotStart: 0, vbuuid: '1000' }),
    /vbucket 1: it ends at seqno 0, in front of 1, the end of 000001-/,
  ],
  [
    'an object begins in front of where the backup before it ended',
    ({ objects }) => (objects[0]!.firstSeqno = 10),
    /vbucket 0: it begins with seqno 10, in front of 10, the end of 000001-/,
  ],
  [
    'a history that the one before was no part of',
    ({ vbuckets }) => vbuckets[0]!.failoverLog.pop(),
    /vbucket 0: its failover log does not have seqno 10 of the history of 000001-/,
  ],
  [
    'a history that had branched off before',
    ({ vbuckets }) => (vbuckets[0]!.failoverLog[0]!.seqno = 9),
    /vbucket 0: its failover log does not have seqno 10 of the history of 000001-/,
  ],
  [
    'a vbucket that is not there any more',
    ({ vbuckets }, backup) => (backup.vbuckets = vbuckets.splice(1, 1).length),
    /vbucket 1 of 000001-\S+ is missing/,
  ],
  [
    'another bucket',
    (_, { bucket }) => (bucket.uuid = 'another'),
    /it is of another bucket than 000001-/,
  ],
  [
    'collections, behind a backup that did not ask for any',
    manifest => (manifest.collections = { uid: '1', scopes: [] }),
    /000001-\S+, which it continues, has the default collection alone/,
  ],
]

t.test('a backup that does not continue what it says', async t => {
  for (const [name, change, message] of seams) {
    const { ids, look, alter } = await scene()
    await alter(ids[1]!, change)
    const { result, damages } = await look({ backup: '2' })
    t.match(damages, [new RegExp(`^${ids[1]}: ${message.source}`)], name)
    t.equal(result.backups, 1)
  }
})

const faults: readonly [
  string,
  (manifest: Changeable<Manifest>, backup: Changeable<BackupDocument>) => void,
  RegExp,
][] = [
  ['another manifest', manifest => (manifest.backup = 'x'), /its manifest is that of x/],
  ['a number of vbuckets', (_, backup) => (backup.vbuckets = 3), /has 2 vbuckets, not 3/],
  ['bytes', (_, backup) => (backup.storedBytes = 3), /objects have \d+ bytes, not 3/],
  ['changes', (_, { counts }) => (counts.deletion = 3), /have 0 as deletion, not 3/],
  ['a snapshot', ({ vbuckets }) => (vbuckets[0]!.snapshotEnd = 9), /seqno 10 is not within/],
  ['its history', ({ vbuckets }) => (vbuckets[0]!.vbuuid = '7'), /not in its failover log/],
  [
    'the order of histories',
    ({ vbuckets }) => vbuckets[0]!.failoverLog.push({ vbuuid: '7', seqno: 99 }),
    /its failover log is not in order/,
  ],
  [
    'an object behind the end',
    ({ vbuckets }) => Object.assign(vbuckets[0]!, { seqno: 9, snapshotStart: 9 }),
    /its object has seqnos 10 to 10, of those up to 9/,
  ],
]

t.test('a backup that does not fit together', async t => {
  for (const [name, change, message] of faults) {
    const { ids, look, alter } = await scene()
    await alter(ids[0]!, change)
    const { damages } = await look({ backup: ids[0]!, samplePercent: 0 })
    t.match(damages, [message], name)
  }
})

t.test('backups that continue each other in a circle', async t => {
  const { ids, look, alter } = await scene()
  await alter(ids[1]!, (_, backup) => (backup.previous = ids[2]!))
  const { damages } = await look({ backup: '2', samplePercent: 0 })
  t.match(damages[0], / continues 00000\d-\S+, which is not there/)
  t.match(damages[1], `${ids[1]}: it continues ${ids[2]}, which is not older`)
})

t.test('what cannot be read is told, and the rest looked at', async t => {
  const { store, ids, look } = await scene()
  await store.put(`r/${ids[1]}/backup.json`, Buffer.from('{'))
  await store.put('r/000004-20260102T030405Z/checkpoint.json', Buffer.from('{}'))
  await store.put(`r/${ids[2]}/data/0099`, Buffer.from('stray'))
  const { result, damages, notes } = await look()
  t.match(damages, [
    new RegExp(`^r/${ids[1]}/backup.json is no JSON`),
    `${ids[2]}: ${ids[2]} continues ${ids[1]}, which is not there`,
  ])
  t.match(notes, [
    `${ids[2]}: 1 under its prefix that it does not name, such as r/${ids[2]}/data/0099`,
    'backup 000004-20260102T030405Z is not looked at: it is unfinished',
  ])
  t.match(result, { backups: 3, objects: 4, objectsRead: 4, damages: 2 })
  await t.rejects(look({ backup: '4' }), { code: 'missing' })
  await t.rejects(look({ backup: '9' }), { code: 'missing' })
})

t.test('from the command line, with a file of metrics', async t => {
  const archive = join(t.testdir(), 'archive')
  const { ids } = await scene(new FileStore(archive))
  const metrics = join(t.testdirName, 'verify.prom')
  const run = (...words: string[]) =>
    runCommandLine(1, ['verify', '--archive', archive, '--repo', 'r', ...words])
  const { code, stdout } = await run('--backup', '3', '--json', '--metrics-file', metrics)
  t.equal(code, 0)
  const lines = stdout.split('\n').map(line => JSON.parse(line) as object)
  t.match(lines.at(-2), { type: 'progress', records: 2 })
  t.match(lines.at(-1), { type: 'complete', backups: 1, damages: 0, memoryBytes: Number })
  rmSync(join(archive, 'r', ids[2]!, 'data/0000'))
  writeFileSync(join(archive, 'r', ids[1]!, 'manifest.json'), '{}')
  const found = await run('--metrics-file', metrics)
  t.match(found, { code: 10, stderr: /found 2 damages/ })
  t.match(found.stdout, /^DAMAGED r\/000002-.*\nDAMAGED r\/000003-\S+0000 is missing\n3 backups/)
  const text = readFileSync(metrics, 'utf8')
  t.match(text, /holdfast_verify_exit_code\{repository="r"\} 10\n/)
  t.match(text, /holdfast_verify_damages\{repository="r"\} 2\n/)
})
