import t from 'tap'
import type { BackupRange } from '../../src/backup/chain.ts'
import { readAhead } from '../../src/backup/read-ahead.ts'
import { Repository } from '../../src/backup/repository.ts'
import { planRestore } from '../../src/backup/restore/restore-plan.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { buildArchive, type History } from './archive-builder.ts'
import { record } from './objects.ts'

const store = new FileStore(t.testdir())
const of = (vbid: number, seqno: number): History =>
  new Map([[vbid, [record(seqno, `key-${seqno}`, 'value')]]])
const ids = await buildArchive(store, [of(0, 1), of(0, 2), of(1, 1), of(0, 3)], { vbuckets: 2 })
const repository = await Repository.open(store, 'r')
const plan = (range: BackupRange) => planRestore(repository, undefined, range)

t.test('by default it is the whole chain of the last one, each vbucket oldest first', async t => {
  const { backups, vbuckets, records, documentBytes } = await plan({})
  t.same(backups, ids)
  t.equal(records, 4)
  t.equal(documentBytes, 40)
  t.same(
    vbuckets.map(({ vbid, objects }) => [vbid, objects.map(({ backupId }) => backupId)]),
    [
      [0, [ids[0], ids[1], ids[3]]],
      [1, [ids[2]]],
    ],
  )
})

t.test('a range is a part of it', async t => {
  t.same((await plan({ to: ids[1] })).backups, ids.slice(0, 2))
  t.same((await plan({ from: ids[1], to: ids[2] })).backups, ids.slice(1, 3))
  t.same((await plan({ from: '2', to: '3' })).backups, ids.slice(1, 3))
  t.same((await plan({ from: '4' })).backups, ids.slice(3))
})

t.test('what is not there, or not in that order, is an error', async t => {
  await t.rejects(plan({ to: '9' }), { code: 'missing', message: /no complete backup 9/ })
  await t.rejects(plan({ from: ids[3], to: ids[0] }), {
    code: 'mismatch',
    message: /does not continue/,
  })
})

t.test(
  'reading ahead ends the source with whoever reads, and hands errors over in their turn',
  async t => {
    const told: string[] = []
    async function* source() {
      try {
        yield 1
        yield 2
        throw new Error('broken')
      } finally {
        told.push('ended')
      }
    }
    const seen: number[] = []
    await t.rejects(
      (async () => {
        for await (const item of readAhead(source())) seen.push(item)
      })(),
      { message: 'broken' },
    )
    t.same(seen, [1, 2])
    for await (const item of readAhead(source())) if (item === 1) break
    t.same(told, ['ended', 'ended'])
  },
)
