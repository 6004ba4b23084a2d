import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { copyShared, setShared } from '../../src/storage/copy-shared.ts'

const bytesMax = 70_000

t.test('what is copied is what was there, and nothing beside it', async t => {
  const memories = [
    () => Buffer.alloc(bytesMax + 32, 0xee),
    () => Buffer.from(new SharedArrayBuffer(bytesMax + 32)).fill(0xee),
  ]
  // Lengths around those from which on another way is the quickest, and large ones.
  const length = fc.oneof(fc.nat(600), fc.nat(5000), fc.nat(bytesMax))
  const memory = fc.constantFrom(...memories)
  const property = fc.property(
    memory,
    memory,
    length,
    fc.nat(16),
    fc.nat(16),
    (makeSource, makeTarget, length, start, at) => {
      const [source, target, other] = [makeSource(), makeTarget(), makeTarget()]
      for (let i = 0; i < length; i++) source[start + i] = (i * 31 + (i >> 8)) & 0x7f
      copyShared(source, start, start + length, target, at)
      setShared(source.subarray(start, start + length), other, at)
      for (const copy of [target, other]) {
        assert.equal(source.compare(copy, at, at + length, start, start + length), 0)
        assert.ok(copy.subarray(0, at).every(byte => byte === 0xee))
        assert.ok(copy.subarray(at + length, at + length + 16).every(byte => byte === 0xee))
      }
    },
  )
  fc.assert(property, { numRuns: 300 })
  t.pass()
})
