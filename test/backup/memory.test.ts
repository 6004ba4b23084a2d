import { randomBytes } from 'node:crypto'
import t from 'tap'
import { BlockKind, compressBlock } from '../../src/backup/archive/block.ts'
import { Compression } from '../../src/backup/archive/compression.ts'
import { freeMemory } from '../../src/backup/free-memory.ts'
import { SpareMemory } from '../../src/backup/spare-memory.ts'

const mebibyte = 1024 * 1024

t.test('what is freed is gone at once; memory that has others in it is not touched', t => {
  const own = Buffer.allocUnsafeSlow(mebibyte)
  freeMemory(own)
  t.equal(own.length, 0)
  const shared = Buffer.allocUnsafeSlow(mebibyte).fill(1)
  freeMemory(shared.subarray(10_000))
  freeMemory(Buffer.from('a string in a pool'))
  t.equal(shared.at(-1), 1)
  t.end()
})

t.test('blocks that cannot be compressed leave nothing for the garbage collector', async t => {
  const raw = randomBytes(mebibyte / 4)
  const summary = { kind: BlockKind.records, recordCount: 1, firstSeqno: 1, lastSeqno: 1 }
  const before = process.memoryUsage().external
  // Without a turn of the event loop, as if there were no time for the garbage collector.
  for (let count = 0; count < 400; count++) await compressBlock(raw, Compression.snappy, summary)
  t.ok(process.memoryUsage().external - before < 16 * mebibyte)
})

t.test('what compresses has memory of its own, which can be handed over', async t => {
  const raw = Buffer.alloc(mebibyte / 4, 'again and ')
  const summary = { kind: BlockKind.records, recordCount: 1, firstSeqno: 1, lastSeqno: 1 }
  const { payload } = await compressBlock(raw, Compression.snappy, summary)
  t.equal(payload.length, payload.buffer.byteLength)
  freeMemory(payload)
  t.equal(payload.length, 0)
})

t.test('memory of segments is used again where it fits', t => {
  const spares = new SpareMemory(4 * mebibyte)
  const segment = spares.take(3 * mebibyte - 5)
  t.equal(segment.length, 3 * mebibyte - 5)
  spares.give(segment)
  t.not(spares.take(100_000).buffer, segment.buffer)
  t.not(spares.take(3 * mebibyte + 1).buffer, segment.buffer)
  t.equal(spares.bytes, 3 * mebibyte)
  const again = spares.take(3 * mebibyte)
  t.equal(again.buffer, segment.buffer)
  t.equal(again.length, 3 * mebibyte)
  t.end()
})

t.test('of more than there is room for, the oldest is freed', t => {
  const spares = new SpareMemory(4 * mebibyte)
  const [one, other] = [spares.take(3 * mebibyte), spares.take(2 * mebibyte)]
  spares.give(one)
  spares.give(other)
  t.equal(spares.bytes, 2 * mebibyte)
  t.equal(one.length, 0)
  t.equal(spares.take(2 * mebibyte).buffer, other.buffer)
  t.end()
})
