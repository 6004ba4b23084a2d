import fc from 'fast-check'
import t from 'tap'
import { crc32c } from '../../src/checksum.ts'
import { buildKeyFilter, keyHashOf, mayHaveKey } from '../../src/backup/archive/key-filter.ts'

t.test('a key is known by the CRC-32C of its collection and itself', async t => {
  const bytes = Buffer.from('0000000861c3a4', 'hex')
  t.equal(keyHashOf(8, Buffer.from('aä')) >>> 0, crc32c(bytes))
})

t.test('four bits are set where the description says', async t => {
  // Of a filter with 32 bits and a hash of 0, worked out by hand from docs/backup-format.md with
  // arbitrary precision: the bits are those of four rounds of the finalizer.
  const bits = new Set<number>()
  let h = 0n
  for (let round = 0; round < 4; round++) {
    h = (h + 0x9e3779b9n) % 2n ** 32n
    h ^= h >> 16n
    h = (h * 0x85ebca6bn) % 2n ** 32n
    h ^= h >> 13n
    h = (h * 0xc2b2ae35n) % 2n ** 32n
    h ^= h >> 16n
    bits.add(Number(h % 32n))
  }
  const filter = buildKeyFilter([0, 0, 0, 0])
  const set = Array.from({ length: 32 }, (_, bit) => bit).filter(
    bit => (filter[bit >> 3]! >> (bit & 7)) & 1,
  )
  t.same(
    set,
    [...bits].sort((one, other) => one - other),
  )
})

t.test('no key of a block is missed', async t => {
  const keys = fc.array(fc.uint8Array({ maxLength: 250 }), { minLength: 1, maxLength: 500 })
  fc.assert(
    fc.property(keys, fc.integer({ min: 0, max: 0xffffffff }), (keys, collectionId) => {
      const hashes = keys.map(key => keyHashOf(collectionId, key))
      const filter = buildKeyFilter(hashes)
      t.equal(filter.length, keys.length)
      t.ok(hashes.every(hash => mayHaveKey(filter, hash)))
    }),
  )
})

t.test('few others pass, of keys that are numbered, too', async t => {
  const hashes = (prefix: string, count: number) =>
    Array.from({ length: count }, (_, number) => keyHashOf(0, Buffer.from(`${prefix}${number}`)))
  const filter = buildKeyFilter(hashes('key-', 1000))
  for (const prefix of ['key-1000', 'user::', 'kez-']) {
    const passed = hashes(prefix, 10_000).filter(hash => mayHaveKey(filter, hash)).length
    t.ok(passed < 400, `${passed} of 10,000 ${prefix}`)
  }
})

t.test('without a filter any key may be there', async t => {
  t.equal(mayHaveKey(Buffer.alloc(0), 7), true)
})
