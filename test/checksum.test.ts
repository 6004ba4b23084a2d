import * as zlib from 'node:zlib'
import fc from 'fast-check'
import t from 'tap'
import { crc32, crc32c } from '../src/checksum.ts'

t.test('CRC-32C is the one of RFC 3720', async t => {
  // Test vectors of its appendix B.4, and the usual check value.
  t.equal(crc32c(Buffer.from('123456789')), 0xe3069283)
  t.equal(crc32c(Buffer.alloc(32)), 0x8a9136aa)
  t.equal(crc32c(Buffer.alloc(32, 0xff)), 0x62a8ab43)
  t.equal(crc32c(Buffer.from(Array.from({ length: 32 }, (_, index) => index))), 0x46dd794e)
  t.equal(crc32c(Buffer.from('..123456789..'), 2, 11), 0xe3069283)
})

t.test('CRC-32C by its definition, of short and of long bytes, wherever they lie', async t => {
  const bytesAndBounds = fc.uint8Array({ maxLength: 1000 }).chain(bytes => {
    const place = fc.nat({ max: bytes.length })
    return fc.tuple(fc.constant(bytes), place, place)
  })
  fc.assert(
    fc.property(bytesAndBounds, ([bytes, one, other]) => {
      const start = Math.min(one, other)
      const end = Math.max(one, other)
      t.equal(crc32c(bytes, start, end), bitByBit(bytes.subarray(start, end)))
    }),
  )
})

t.test(
  'CRC-32 is that of zlib, of shared memory too, and goes on from the sum of what was before',
  async t => {
    fc.assert(
      fc.property(fc.uint8Array(), fc.uint8Array({ maxLength: 9000 }), (before, bytes) => {
        const shared = Buffer.from(new SharedArrayBuffer(bytes.length))
        shared.set(bytes)
        t.equal(crc32(shared), zlib.crc32(bytes))
        t.equal(crc32(shared, crc32(before)), zlib.crc32(Buffer.concat([before, bytes])))
      }),
    )
  },
)

function bitByBit(bytes: Uint8Array): number {
  let remainder = 0xffffffff
  for (const byte of bytes) {
    remainder ^= byte
    for (let bit = 0; bit < 8; bit++) {
      remainder = (remainder & 1) === 0 ? remainder >>> 1 : (remainder >>> 1) ^ 0x82f63b78
    }
  }
  return ~remainder >>> 0
}
