import t from 'tap'
import { ObjectWriter } from '../../src/backup/archive/object-writer.ts'
import type { Segment } from '../../src/backup/archive/segment-builder.ts'
import type { ArchiveRecord } from '../../src/backup/archive/record.ts'
import { SpareBlocks } from '../../src/backup/archive/spare-blocks.ts'
import fc from 'fast-check'
import { anyRecords, readObject, smallObject } from './objects.ts'

t.test('vbuckets that are written side by side share blocks, and no bytes', async t => {
  await fc.assert(
    fc.asyncProperty(anyRecords, anyRecords, async (...both) => {
      const spareBlocks = new SpareBlocks(smallObject.blockBytes, 3)
      const segments: Segment[][] = [[], []]
      const writers = segments.map(
        list =>
          new ObjectWriter({
            ...smallObject,
            spareBlocks,
            onSegment: segment => Promise.resolve(void list.push(segment)),
          }),
      )
      for (let at = 0; at < 60; at++)
        for (const [index, writer] of writers.entries()) {
          const next: ArchiveRecord | undefined = both[index]![at]
          if (next) await writer.append(next)
        }
      await Promise.all(writers.map(writer => writer.finish()))
      for (const [index, records] of both.entries()) {
        const chunks = segments[index]!.flatMap(segment => segment.chunks)
        t.same((await readObject(Buffer.concat(chunks))).records, records)
      }
    }),
    { numRuns: 30 },
  )
})

t.test('a block is used again; of another size, or too many, they are not kept', t => {
  const spares = new SpareBlocks(100, 1)
  const one = spares.take()
  const other = spares.take()
  spares.give(Buffer.alloc(101))
  spares.give(one)
  spares.give(other)
  t.equal(spares.take(), one)
  t.not(spares.take(), other)
  t.end()
})
