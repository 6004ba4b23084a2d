import t from 'tap'
import fc from 'fast-check'
import { FillingBlocks } from '../../src/backup/archive/filling-blocks.ts'
import { SpareBlocks } from '../../src/backup/archive/spare-blocks.ts'
import { anyRecords, readObject, smallObject, writeSideBySide } from './objects.ts'

t.test('whoever fills a block there, or finds no place, writes the same', async t => {
  const places = fc.integer({ min: 0, max: 2 })
  await fc.assert(
    fc.asyncProperty(places, anyRecords, anyRecords, async (count, ...both) => {
      const fillingBlocks = new FillingBlocks(smallObject.blockBytes, count)
      const spareBlocks = new SpareBlocks(smallObject.blockBytes, 3)
      const written = await writeSideBySide(both, { spareBlocks, fillingBlocks })
      for (const [index, records] of both.entries())
        t.same((await readObject(written[index]!)).records, records)
      const free = Array.from({ length: count + 1 }, () => fillingBlocks.take())
      t.equal(free.filter(place => place !== undefined).length, count, 'all places are free again')
    }),
    { numRuns: 30 },
  )
})

t.test('places do not overlap each other, nor what the stream is read into', t => {
  const blocks = new FillingBlocks(smallObject.blockBytes, 3)
  const places = [blocks.take()!, blocks.take()!, blocks.take()!]
  blocks.readInto.fill(1)
  for (const [index, { memory, start, end }] of places.entries()) {
    t.equal(memory.buffer, blocks.readInto.buffer)
    t.equal(end - start, smallObject.blockBytes)
    memory.fill(index + 2, start, end)
  }
  t.ok(blocks.readInto.every(byte => byte === 1))
  for (const [index, { memory, start, end }] of places.entries())
    t.ok(memory.subarray(start, end).every(byte => byte === index + 2))
  t.end()
})
