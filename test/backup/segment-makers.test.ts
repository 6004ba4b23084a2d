import t from 'tap'
import fc from 'fast-check'
import { SegmentMakers } from '../../src/backup/archive/segment-makers.ts'
import { SpareBlocks } from '../../src/backup/archive/spare-blocks.ts'
import { anyRecords, readObject, smallObject, writeObject, type Written } from './objects.ts'

/** In how many pieces the bytes come, and whose memory it is, is nobody's business. */
const withoutChunks = ({ segments, ...rest }: Written) => ({
  ...rest,
  segments: segments.map(segment => ({ ...segment, chunks: [], release: undefined })),
})

t.test('what a thread makes is what is made here, byte for byte', async t => {
  const spareBlocks = new SpareBlocks(smallObject.blockBytes, 4)
  const makers = new SegmentMakers(spareBlocks, 0)
  t.teardown(() => makers.close())
  const compression = fc.constantFrom('none' as const, 'deflate' as const, 'snappy' as const)
  await fc.assert(
    fc.asyncProperty(
      fc.array(anyRecords, { minLength: 1, maxLength: 4 }),
      compression,
      async (objects, compression) => {
        const written = await Promise.all(
          objects.map(records => writeObject(records, { compression, spareBlocks, makers })),
        )
        for (const [index, records] of objects.entries()) {
          const expected = await writeObject(records, { compression })
          t.same(withoutChunks(written[index]!), withoutChunks(expected))
          t.same((await readObject(written[index]!.bytes)).records, records)
        }
      },
    ),
    { numRuns: 15 },
  )
})

t.test('encrypted, and gone on with behind a segment', async t => {
  const makers = new SegmentMakers(new SpareBlocks(smallObject.blockBytes, 4), 0)
  t.teardown(() => makers.close())
  const repositoryKey = Buffer.alloc(32, 7)
  await fc.assert(
    fc.asyncProperty(anyRecords, async records => {
      const { bytes, segments, salt } = await writeObject(records, { repositoryKey, makers })
      t.same((await readObject(bytes, repositoryKey)).records, records)
      const last = segments.at(-1)!
      const progress = { ...last, salt, segments: segments.length, size: bytes.length }
      const more = [{ ...records.at(-1)!, seqno: last.lastSeqno + 1 }]
      const behind = await writeObject(more, { repositoryKey, makers, progress })
      const all = Buffer.concat([bytes, behind.bytes])
      t.same((await readObject(all, repositoryKey)).records, [...records, ...more])
    }),
    { numRuns: 10 },
  )
})

t.test('when the thread is gone, whoever waits hears of it', async t => {
  const makers = new SegmentMakers(new SpareBlocks(smallObject.blockBytes, 4), 0)
  const records = fc.sample(anyRecords, { numRuns: 1, seed: 1 })[0]!
  const outcome = writeObject(records, { makers })
  await makers.close()
  await t.rejects(outcome, /was ended/)
  await t.rejects(writeObject(records, { makers }), /was ended/)
})
