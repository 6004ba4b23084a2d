import { randomBytes, randomUUID } from 'node:crypto'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import t from 'tap'
import type { CompressionName } from '../../src/backup/archive/compression.ts'
import {
  archiveSchema,
  backupSchema,
  decodeDocument,
  encodeDocument,
  manifestSchema,
  repositorySchema,
  sha256Of,
} from '../../src/backup/archive/documents.ts'
import { backupIdOf, backupNumberOf, dataKey } from '../../src/backup/archive/layout.ts'
import { objectDigest } from '../../src/backup/archive/object-writer.ts'
import type { ArchiveRecord } from '../../src/backup/archive/record.ts'
import {
  createRepositoryKey,
  manifestMac,
  type Secret,
} from '../../src/backup/archive/repository-key.ts'
import { readIndependently } from './independent-reader.ts'
import { record, writeObject } from './objects.ts'

const time = '2026-01-02T03:04:05.000Z'

/** An archive with one backup of one vbucket, as the format's own code writes its parts. */
async function makeArchive(
  folder: string,
  records: readonly ArchiveRecord[],
  options: { secret?: Secret; compression?: CompressionName },
) {
  const put = (key: string, bytes: Buffer) => {
    mkdirSync(dirname(join(folder, key)), { recursive: true })
    writeFileSync(join(folder, key), bytes)
  }
  const { secret, compression = 'snappy' } = options
  const id = randomUUID()
  const sealed = secret && (await createRepositoryKey(secret, id))
  const backupId = backupIdOf(1, Date.parse(time))
  const bucket = { name: 'default', uuid: randomUUID() }
  const { bytes, segments } = await writeObject(records, {
    repositoryKey: sealed?.key,
    compression,
  })
  const { counts, lastSeqno } = segments.at(-1)!
  const object = { key: dataKey(7), vbid: 7, size: bytes.length, segments: segments.length }
  const sha256 = objectDigest(segments.map(segment => segment.sha256))
  const manifest = encodeDocument({
    format: 'holdfast-backup-manifest',
    version: 1,
    backup: backupId,
    objects: [{ ...object, sha256, firstSeqno: 1, lastSeqno, counts }],
    vbuckets: [],
  })
  put(
    'archive.json',
    encodeDocument({ format: 'holdfast-backup-archive', version: 1, id, created: time }),
  )
  put(
    'r/repository.json',
    encodeDocument({
      format: 'holdfast-backup-repository',
      version: 1,
      id,
      created: time,
      compression,
      bucket,
      ...(sealed ? { encryption: sealed.encryption } : {}),
    }),
  )
  put(`r/${backupId}/${object.key}`, bytes)
  put(`r/${backupId}/manifest.json`, manifest)
  put(
    `r/${backupId}/backup.json`,
    encodeDocument({
      format: 'holdfast-backup',
      version: 1,
      id: backupId,
      type: 'full',
      started: time,
      completed: time,
      bucket,
      vbuckets: 1,
      counts,
      storedBytes: bytes.length,
      manifest: {
        size: manifest.length,
        sha256: sha256Of(manifest),
        ...(sealed ? { mac: manifestMac(sealed.key, manifest) } : {}),
      },
    }),
  )
  return { folder, backupId, read: (key: string) => readFileSync(join(folder, key)) }
}

const text = 'the same words again and again, '.repeat(4)
const records = Array.from({ length: 300 }, (_, index) => ({
  ...record(index + 1, `key-${index % 100}`, `${text}${index}`),
  flags: index,
  time: index * 3,
  datatype: index % 8,
}))

/** What of `records` is left: 100 keys, in their last version. */
const expected = records.slice(200).map(({ seqno, cas, flags, time, datatype, key, value }) => ({
  vbid: 7,
  kind: 1,
  seqno,
  cas: String(cas),
  revno: 1,
  flags,
  time,
  datatype,
  collection: 0,
  key: key.toString('latin1'),
  value: value.toString('base64'),
}))

t.test('a program written from the description alone reads every document', async t => {
  for (const compression of ['none', 'deflate', 'snappy'] as const) {
    const { folder } = await makeArchive(t.testdir(), records, { compression })
    t.same(await readIndependently(folder, 'r'), expected, compression)
  }
})

t.test('and those of an encrypted archive, with its secret', async t => {
  const bytes = randomBytes(32)
  const folder = t.testdir()
  const keyFile = join(folder, 'key')
  writeFileSync(keyFile, bytes)
  const withFile = await makeArchive(join(folder, 'one'), records, {
    secret: { kind: 'key-file', bytes },
  })
  const file = { KEY_FILE: keyFile }
  t.same(await readIndependently(withFile.folder, 'r', { env: file }), expected)

  const words = 'ångström'
  const withWords = await makeArchive(join(folder, 'other'), records, {
    secret: { kind: 'passphrase', text: words },
  })
  const env = { PASSPHRASE: words }
  t.same(await readIndependently(withWords.folder, 'r', { env }), expected)
  await t.rejects(readIndependently(withWords.folder, 'r', { env: { PASSPHRASE: 'another' } }))
})

t.test('deletions and expirations remove', async t => {
  const gone = [
    record(1, 'a', 'x'),
    record(2, 'b', 'x'),
    { ...record(3, 'a', ''), kind: 2 as const },
    { ...record(4, 'b', ''), kind: 3 as const },
    record(5, 'c', 'x'),
  ]
  const { folder } = await makeArchive(t.testdir(), gone, {})
  t.match(await readIndependently(folder, 'r'), [{ key: 'c' }])
})

t.test('documents are checked field by field', async t => {
  const { read, backupId } = await makeArchive(t.testdir(), records.slice(0, 3), {})
  const schemas = {
    'archive.json': archiveSchema,
    'r/repository.json': repositorySchema,
    [`r/${backupId}/manifest.json`]: manifestSchema,
    [`r/${backupId}/backup.json`]: backupSchema,
  }
  for (const [key, schema] of Object.entries(schemas)) {
    const bytes = read(key)
    t.ok(decodeDocument(schema, bytes, key))
    const content = JSON.parse(bytes.toString()) as Record<string, unknown>
    const refused = (document: object | Buffer, code: string) =>
      t.throws(
        () =>
          decodeDocument(
            schema,
            Buffer.isBuffer(document) ? document : encodeDocument(document),
            key,
          ),
        { code },
        `${key} ${code}`,
      )
    refused({ ...content, version: 3 }, 'format')
    refused({ ...content, format: 'other' }, 'format')
    refused(Buffer.from('[]'), 'format')
    refused(bytes.subarray(0, bytes.length / 2), 'damaged')
    refused({ ...content, unknown: 1 }, 'format')
    for (const field of Object.keys(content).filter(
      name => !/format|version|encryption/.test(name),
    ))
      refused({ ...content, [field]: { not: 'this' } }, 'damaged')
  }
})

t.test('backups are named by number and time', async t => {
  t.equal(backupIdOf(12, Date.parse(time)), '000012-20260102T030405Z')
  t.equal(backupNumberOf('000012-20260102T030405Z'), 12)
  t.equal(backupNumberOf('data'), undefined)
})
