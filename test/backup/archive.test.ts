import { randomBytes } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { crc32c } from '../../src/checksum.ts'
import { decodeIndex, encodeIndex } from '../../src/backup/archive/segment.ts'
import { objectDigest } from '../../src/backup/archive/object-writer.ts'
import { segmentBytesAt } from '../../src/backup/archive/segment-builder.ts'
import { decodeRecords, encodeRecord } from '../../src/backup/archive/record.ts'
import {
  createRepositoryKey,
  manifestMac,
  openRepositoryKey,
  readKeyFile,
} from '../../src/backup/archive/repository-key.ts'
import { anyRecords, readObject, record, sha256, writeObject } from './objects.ts'

const key = randomBytes(32)

t.test('a record has the bytes that the drawing says', async t => {
  const bytes = Buffer.alloc(53)
  const end = encodeRecord(bytes, 0, {
    kind: 1,
    seqno: 0x0102030405,
    cas: 0x1112131415161718n,
    revno: 9,
    flags: 0xdeadbeef,
    time: 0x21222324,
    datatype: 5,
    collectionId: 8,
    key: Buffer.from('ab'),
    value: Buffer.from('xyz'),
  })
  t.equal(end, 53)
  const hex =
    '00000003 0000000102030405 1112131415161718 0000000000000009 deadbeef 21222324' +
    '01 05 0002 00000008 6162 78797a'
  t.equal(bytes.subarray(4).toString('hex'), hex.replaceAll(' ', ''))
  t.equal(bytes.readUInt32BE(0), crc32c(bytes, 4))
})

t.test('whatever is written is read back, in blocks and segments of any size', async t => {
  const options = fc.record({
    compression: fc.constantFrom('none' as const, 'deflate' as const, 'snappy' as const),
    blockBytes: fc.integer({ min: 1, max: 10_000 }),
    segmentBytes: fc.integer({ min: 1, max: 20_000 }),
    repositoryKey: fc.constantFrom(undefined, key),
  })
  const chunkLength = fc.integer({ min: 1, max: 5000 })
  await fc.assert(
    fc.asyncProperty(anyRecords, options, chunkLength, async (records, options, chunkLength) => {
      const { bytes, segments } = await writeObject(records, options)
      const read = await readObject(bytes, options.repositoryKey, chunkLength)
      t.same(read.records, records)
      t.match(read.summary, {
        vbid: 7,
        size: bytes.length,
        segments: segments.length,
        recordCount: records.length,
        lastSeqno: records.at(-1)!.seqno,
        sha256: objectDigest(segments.map(segment => segment.sha256)),
      })
    }),
    { numRuns: 100 },
  )
})

t.test('what a segment says of itself holds of its bytes', async t => {
  const records = Array.from({ length: 200 }, (_, index) => record(index + 1, `k${index}`, 'v'))
  const { segments, bytes } = await writeObject(records, { compression: 'none' })
  t.ok(segments.length > 2)
  let offset = 0
  for (const [index, segment] of segments.entries()) {
    const content = Buffer.concat(segment.chunks)
    t.match(segment, { number: index + 1, offset, size: content.length })
    t.equal(segment.sha256, sha256(content).toString('hex'))
    // An object is whole at the end of each of its segments.
    offset += content.length
    const part = await readObject(bytes.subarray(0, offset))
    t.match(part.summary, { segments: index + 1, lastSeqno: segment.lastSeqno })
    t.equal(part.records.length, segment.counts.mutation)
  }
})

t.test('a writer goes on behind any segment of another one', async t => {
  await fc.assert(
    fc.asyncProperty(
      anyRecords,
      fc.nat(),
      fc.constantFrom(undefined, key),
      async (records, pick, repositoryKey) => {
        const first = await writeObject(records, { repositoryKey })
        const kept = first.segments.slice(0, pick % (first.segments.length + 1))
        const last = kept.at(-1)
        const progress = last && {
          salt: first.salt,
          segments: last.number,
          size: last.offset + last.size,
          lastSeqno: last.lastSeqno,
          counts: last.counts,
        }
        const rest = records.filter(({ seqno }) => seqno > (last?.lastSeqno ?? 0))
        const second = await writeObject(rest, { repositoryKey, progress })
        const chunks = [...kept, ...second.segments].flatMap(segment => segment.chunks)
        const read = await readObject(Buffer.concat(chunks), repositoryKey)
        t.same(read.records, records)
      },
    ),
    { numRuns: 60 },
  )
})

t.test('a bit that flips anywhere is found', async t => {
  const records = Array.from({ length: 40 }, (_, index) => record(index + 1, `k${index}`, 'value'))
  for (const repositoryKey of [undefined, key]) {
    const { bytes } = await writeObject(records, { repositoryKey, compression: 'deflate' })
    const digest = (await readObject(bytes, repositoryKey)).summary.sha256
    await fc.assert(
      fc.asyncProperty(fc.nat(bytes.length * 8 - 1), async bit => {
        const changed = Buffer.from(bytes)
        changed[bit >>> 3]! ^= 1 << (bit & 7)
        // Deflate has bits without a meaning: those the digest tells of.
        const sum = await readObject(changed, repositoryKey).then(
          ({ summary }) => summary.sha256,
          (error: { code: string }) => error.code,
        )
        t.not(sum, digest)
        t.match(sum, /^(damaged|format|key|[0-9a-f]{64})$/)
      }),
      { numRuns: 300 },
    )
  }
})

t.test('an object that is cut off is not taken for a whole one', async t => {
  const records = Array.from({ length: 60 }, (_, index) => record(index + 1, `k${index}`, 'value'))
  const { bytes, segments } = await writeObject(records)
  const ends = segments.map(({ offset, size }) => offset + size)
  for (let length = 0; length < bytes.length; length++) {
    if (ends.includes(length)) continue
    await t.rejects(readObject(bytes.subarray(0, length)), { code: 'damaged' })
  }
})

t.test('blocks of an encrypted object cannot be moved, nor read with another key', async t => {
  const records = [record(1, 'a', 'secret words'), record(2, 'b', 'more of them')]
  const options = { repositoryKey: key, compression: 'none', blockBytes: 1 } as const
  const one = await writeObject(records, options)
  const other = await writeObject(records, options)
  t.notOk(one.bytes.includes('secret'))
  await t.rejects(readObject(one.bytes), { code: 'key' })
  await t.rejects(readObject(one.bytes, randomBytes(32)), { code: 'damaged' })
  const moved = Buffer.from(one.bytes)
  other.bytes.copy(moved, 36, 36)
  await t.rejects(readObject(moved, key), { code: 'damaged' })
})

t.test('a header that asks for more than there is takes no memory', async t => {
  const { bytes } = await writeObject([record(1, 'a', 'b'.repeat(100))], { compression: 'snappy' })
  const changed = Buffer.from(bytes)
  changed.writeUInt32BE(0x7fffffff, 36 + 4)
  changed.writeUInt32BE(crc32c(changed, 36, 36 + 32), 36 + 32)
  await t.rejects(readObject(changed), { code: 'damaged', message: /decompress|length/ })
})

t.test('seqnos that do not grow are refused', async t => {
  const { bytes } = await writeObject([record(5, 'a', ''), record(5, 'b', '')])
  await t.rejects(readObject(bytes), { code: 'damaged', message: /seqno 5 comes after 5/ })
})

t.test('damaged records and indexes are refused', async t => {
  t.throws(() => [...decodeRecords(Buffer.alloc(20))], { code: 'damaged' })
  t.throws(() => decodeIndex(Buffer.alloc(3)), { code: 'damaged' })
  t.throws(() => decodeIndex(encodeIndex([]).fill(1)), { code: 'damaged' })
})

t.test('ten thousand segments hold more than 5 TiB, none more than a part may', async t => {
  const segmentBytes = 8 * 2 ** 20
  let size = 0
  for (let number = 1; number <= 10_000; number++) size += segmentBytesAt(number, segmentBytes)
  t.equal(segmentBytesAt(1, segmentBytes), segmentBytes)
  t.equal(segmentBytesAt(1001, segmentBytes), 2 * segmentBytes)
  // The greatest part that S3 takes.
  t.ok(segmentBytesAt(10_000, segmentBytes) <= 5 * 2 ** 30)
  t.ok(size > 5 * 2 ** 40)
})

t.test('the key of a repository is opened by its secret alone', async t => {
  const secrets = [
    { kind: 'key-file', bytes: randomBytes(32) },
    { kind: 'passphrase', text: 'correct horse battery staple' },
  ] as const
  for (const secret of secrets) {
    const { key, encryption } = await createRepositoryKey(secret, 'id-1')
    t.notOk(JSON.stringify(encryption).includes(key.toString('base64')))
    t.same(await openRepositoryKey(secret, encryption, 'id-1'), key)
    const wrong =
      secret.kind === 'key-file' ? { ...secret, bytes: key } : { ...secret, text: 'tr0ub4dor' }
    await t.rejects(openRepositoryKey(wrong, encryption, 'id-1'), { code: 'key' })
    await t.rejects(openRepositoryKey(secret, encryption, 'id-2'), { code: 'key' })
    await t.rejects(openRepositoryKey(undefined, encryption, 'id-1'), { code: 'key' })
  }
})

t.test('a key file is 32 bytes or their digits', async t => {
  t.same(readKeyFile(key), key)
  t.same(readKeyFile(Buffer.from(`${key.toString('hex')}\n`)), key)
  t.throws(() => readKeyFile(Buffer.from('short')), { code: 'key' })
})

t.test('the mac of a manifest depends on key and manifest', async t => {
  const mac = manifestMac(key, Buffer.from('{}'))
  t.not(mac, manifestMac(key, Buffer.from('{ }')))
  t.not(mac, manifestMac(randomBytes(32), Buffer.from('{}')))
})
