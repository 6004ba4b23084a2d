import t from 'tap'
import { SpareBlocks } from '../../src/backup/archive/spare-blocks.ts'
import fc from 'fast-check'
import { anyRecords, readObject, smallObject, writeSideBySide } from './objects.ts'

t.test('vbuckets that are written side by side share blocks, and no bytes', async t => {
  await fc.assert(
    fc.asyncProperty(anyRecords, anyRecords, async (...both) => {
      const spareBlocks = new SpareBlocks(smallObject.blockBytes, 3)
      const written = await writeSideBySide(both, { spareBlocks })
      for (const [index, records] of both.entries())
        t.same((await readObject(written[index]!)).records, records)
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
