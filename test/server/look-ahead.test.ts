import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { lookAhead } from '../../src/server/look-ahead.ts'
import { hashKey } from '../../src/storage/key-hash.ts'
import type { ChangeLog } from '../../src/vbucket/change-log.ts'
import type { KeyBatch } from '../../src/vbucket/key-batch.ts'

/** The hashes of the keys that are fetched for these bytes; undefined: nothing is fetched. */
function fetched(
  bytes: Buffer,
  length = bytes.length,
  hasCollections = false,
): number[] | undefined {
  let hashes: number[] | undefined
  const changes = {
    fetch(batch: KeyBatch) {
      hashes = [...batch.hashes.subarray(0, batch.count)]
    },
  }
  lookAhead(bytes, length, changes as ChangeLog, hasCollections)
  return hashes
}

function get(key: string, vbid = 7): Buffer {
  return encodeRequest({ opcode: Opcode.get, vbid, key: Buffer.from(key) })
}

function set(key: string, value: string, vbid = 7): Buffer {
  const extras = Buffer.alloc(8)
  const parts = { key: Buffer.from(key), extras, value: Buffer.from(value) }
  return encodeRequest({ opcode: Opcode.set, vbid, ...parts })
}

/** As the document is stored: its collection is the first byte of its key. */
const hashOf = (key: string, vbid = 7) => hashKey(vbid, Buffer.from(`\0${key}`), 0, key.length + 1)

t.test(
  'the keys of requests that came together are fetched, whatever the requests are',
  async t => {
    const noop = encodeRequest({ opcode: Opcode.noop })
    const bytes = Buffer.concat([get('one'), noop, set('two', 'value', 9), get('three')])
    t.same(fetched(bytes), [hashOf('one'), hashOf('two', 9), hashOf('three')])
  },
)

t.test('keys that begin with their collection are fetched as they are', async t => {
  const bytes = Buffer.concat([get('\u0008one'), get('\0two')])
  const hashes = [hashKey(7, Buffer.from('\u0008one'), 0, 4), hashOf('two')]
  t.same(fetched(bytes, bytes.length, true), hashes)
})

t.test('a request alone is not looked at, and neither is what has not arrived whole', async t => {
  t.equal(fetched(get('alone')), undefined)
  const both = Buffer.concat([get('one'), get('two')])
  t.same(fetched(both, both.length - 1), [hashOf('one')])
  t.same(fetched(Buffer.concat([get('one'), Buffer.from('GET two\r\n'.padEnd(40))])), [
    hashOf('one'),
  ])
})

t.test('bytes of any kind, and requests beyond count, do no harm', async t => {
  const anything = fc.array(
    fc.oneof(
      fc.uint8Array({ maxLength: 60 }).map(bytes => Buffer.from(bytes)),
      fc.string({ minLength: 1, maxLength: 20, unit: 'binary-ascii' }).map(key => get(key)),
      fc.integer({ min: 0, max: 2 ** 32 - 1 }).map(bodyLength => {
        const bytes = get('key')
        bytes.writeUInt32BE(bodyLength, 8)
        return bytes
      }),
    ),
    { maxLength: 400, size: 'max' },
  )
  fc.assert(
    fc.property(anything, pieces => {
      assert.ok((fetched(Buffer.concat(pieces))?.length ?? 0) <= 256)
    }),
  )
  const many = Array.from({ length: 300 }, (_, number) => get(`key-${number}`))
  t.equal(fetched(Buffer.concat(many))?.length, 256)
})
