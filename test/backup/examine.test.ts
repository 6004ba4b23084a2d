import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { encodeXattrs } from '../../protocol/xattrs.ts'
import { vbucketOf } from '../../protocol/key-hash.ts'
import { IndexedObject } from '../../src/backup/archive/indexed-object.ts'
import type { ArchiveRecord } from '../../src/backup/archive/record.ts'
import { examine, type DocumentVersion } from '../../src/backup/examine/examine.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { blockOf, literal } from '../support/snappy-blocks.ts'
import { buildArchive, type History } from './archive-builder.ts'
import { anyRecords, inChunks, record, writeObject } from './objects.ts'

const key = randomBytes(32)

t.test('from its end an object tells of all its blocks', async t => {
  await fc.assert(
    fc.asyncProperty(anyRecords, fc.constantFrom(undefined, key), async (records, key) => {
      const { bytes } = await writeObject(records, { repositoryKey: key })
      const read = (range: { start: number; end: number }) =>
        inChunks(bytes.subarray(range.start, range.end), 700)
      const object = await IndexedObject.open({
        read,
        size: bytes.length,
        vbid: 7,
        repositoryKey: key,
      })
      const found: ArchiveRecord[] = []
      for await (const entries of object.indexes())
        for (const entry of entries) found.push(...(await object.records(entry)))
      t.same(
        found.sort((one, other) => one.seqno - other.seqno),
        records,
      )
    }),
    { numRuns: 50 },
  )
})

t.test('damage is found in what is read from the end, too', async t => {
  const records = Array.from({ length: 40 }, (_, index) => record(index + 1, `k${index}`, 'value'))
  const { bytes } = await writeObject(records, { compression: 'none' })
  const readAll = async (bytes: Buffer) => {
    const object = await IndexedObject.open({
      read: ({ start, end }) => inChunks(bytes.subarray(start, end)),
      size: bytes.length,
      vbid: 7,
      repositoryKey: undefined,
    })
    for await (const entries of object.indexes())
      for (const entry of entries) await object.records(entry)
  }
  await readAll(bytes)
  await fc.assert(
    fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async bit => {
      const changed = Buffer.from(bytes)
      changed[bit >>> 3]! ^= 1 << (bit & 7)
      await t.rejects(readAll(changed), { code: /damaged|format|key/ })
    }),
    { numRuns: 300 },
  )
  for (let length = 36; length < bytes.length; length += 97)
    await t.rejects(readAll(bytes.subarray(0, length)), { code: 'damaged' })
})

const vbuckets = 4
const vbidOf = (key: string) => vbucketOf(key, vbuckets)

/** Documents k0 to k999 in the first backup; what `more` says in those behind it. */
async function scene(t: Test, more: readonly ArchiveRecord[]) {
  const archive = join(t.testdir(), 'archive')
  const store = new FileStore(archive)
  const first = new Map<number, ArchiveRecord[]>()
  for (let number = 0; number < 1000; number++) {
    const name = `k${number}`
    const records = first.get(vbidOf(name)) ?? []
    records.push(record(records.length + 1, name, randomBytes(500).toString('hex')))
    first.set(vbidOf(name), records)
  }
  const histories: History[] = [first]
  for (const one of more) histories.push(new Map([[vbidOf(one.key.toString()), [one]]]))
  const ids = await buildArchive(store, histories, {
    vbuckets,
    compression: 'none',
    blockBytes: 4000,
    segmentBytes: 100_000,
  })
  const run = (...words: string[]) =>
    runCommandLine(1, ['examine', '--archive', archive, '--repo', 'r', ...words])
  return { archive, store, ids, run }
}

t.test('the versions of a document, oldest first, out of a part of the data', async t => {
  const deletion = { ...record(3000, 'k500', ''), kind: 2, revno: 3, time: 1_800_000_000 } as const
  const { store, ids } = await scene(t, [
    { ...record(1000, 'k500', 'new'), revno: 2 },
    record(2000, 'k501', 'another'),
    deletion,
  ])
  const versions: DocumentVersion[] = []
  const signal = new AbortController().signal
  const found = (version: DocumentVersion) => Promise.resolve(void versions.push(version))
  const options = { store, repository: 'r', signal, found }
  const result = await examine({ ...options, key: Buffer.from('k500') })
  t.match(result, { backups: 4, versions: 3 })
  t.same(
    versions.map(({ backup, record }) => [backup.id, record.kind, record.revno]),
    [
      [ids[0], 1, 1],
      [ids[1], 1, 2],
      [ids[3], 2, 3],
    ],
  )
  // Of a vbucket's 270 KB a block or two, and the ends of three segments.
  t.ok(result.bytesRead < 150_000, `${result.bytesRead} bytes`)
  t.match(await examine({ ...options, key: Buffer.from('k500'), collection: 8 }), { versions: 0 })
  t.match(await examine({ ...options, key: Buffer.from('nowhere') }), { versions: 0 })
})

t.test('as a table and as lines of JSON, with values or without', async t => {
  const xattrs = encodeXattrs([{ key: Buffer.from('_sync'), value: Buffer.from('{"a":1}') }])
  const value = Buffer.concat([xattrs, Buffer.from('{"n":12345678901234567890}')])
  const stored = {
    value: blockOf(value.length, literal(value.toString('latin1'))),
    datatype: 7,
    time: 2_000_000_000,
  }
  const { ids, run } = await scene(t, [{ ...record(1000, 'k1', ''), ...stored }])
  const table = await run('k1')
  t.match(table, { code: 0, stderr: '' })
  const [head, first, second] = table.stdout.split('\n')
  t.match(head, /^backup +version +seqno +cas +revision +expiry +datatype +size$/)
  t.match(first, new RegExp(`^${ids[0]} +mutation +\\d+ .* raw +1000 B$`))
  t.match(
    second,
    new RegExp(`^${ids[1]} +mutation +1000 .* 2033-05-18T03:33:20Z +json,snappy,xattr`),
  )
  const lines = (await run('k1', '--json')).stdout
    .split('\n')
    .map(line => JSON.parse(line) as object)
  t.match(lines[0], { type: 'mutation', backup: ids[0], key: 'k1', expiry: 0, bytes: 1000 })
  t.notOk('value' in lines[0]!)
  t.match(lines[1], {
    backup: ids[1],
    cas: String(2n ** 63n + 1000n),
    datatype: 'json,snappy,xattr',
  })
  t.match(lines[2], { type: 'complete', backups: 2, versions: 2 })
  const one = await run('k1', '--values', '--backup', ids[1]!)
  t.match(one.stdout, '"xattrs":{"_sync":{"a":1}},"value":{"n":12345678901234567890}}')
  t.match(await run('none'), { code: 1, stdout: '', stderr: /none of 2 backups has this key/ })
  t.match(await run('k1', '--backup', '000009-20200101T000000Z'), { code: 1 })
  t.match(await run('k1', '--backup', '../x'), { code: 1 })
})

t.test('damage on the way is told with its object', async t => {
  const { archive, ids, run } = await scene(t, [])
  const path = join(archive, 'r', ids[0]!, 'data', `000${vbidOf('k7')}`)
  const bytes = readFileSync(path)
  bytes[bytes.length - 50]! ^= 1
  writeFileSync(path, bytes)
  t.match(await run('k7'), { code: 10, stderr: /r\/000001-\S+\/data\/000\d: / })
})
