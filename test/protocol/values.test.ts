import t from 'tap'
import {
  decodeDurationMicros,
  decodeStreamRequestValue,
  encodeDurationMicros,
  encodeRequestFraming,
  encodeStreamRequestValue,
  readLeb128,
  readSeqno,
  readUint16,
  readUint32,
  readUint64,
  seqnoInfinity,
  uint64From,
  uint64High,
  uint64Low,
  vbucketOf,
  writeSeqno,
  writeUint16,
  writeUint32,
  writeUint64,
} from '../../protocol/index.ts'

t.test('numbers are written big-endian and unsigned', t => {
  const bytes = Buffer.alloc(10, 0xaa)
  writeUint16(bytes, 1, 0xfe01)
  t.equal(bytes.toString('hex'), 'aafe01aaaaaaaaaaaaaa')
  t.equal(readUint16(bytes, 1), 0xfe01)
  writeUint32(bytes, 1, 0xfedcba98)
  t.equal(bytes.toString('hex'), 'aafedcba98aaaaaaaaaa')
  t.equal(readUint32(bytes, 1), 0xfedcba98)
  writeUint64(bytes, 1, 0xfedcba9876543210n)
  t.equal(bytes.toString('hex'), 'aafedcba9876543210aa')
  t.equal(readUint64(bytes, 1), 0xfedcba9876543210n)
  t.equal(
    uint64From(uint64High(0xfedcba9876543210n), uint64Low(0xfedcba9876543210n)).toString(16),
    'fedcba9876543210',
  )
  t.end()
})

t.test('the endless seqno stays endless', t => {
  const bytes = Buffer.alloc(8, 0xff)
  t.equal(readSeqno(bytes, 0), seqnoInfinity)
  for (const seqno of [seqnoInfinity, 2 ** 63, Infinity]) {
    bytes.fill(0)
    writeSeqno(bytes, 0, seqno)
    t.equal(bytes.toString('hex'), 'ffffffffffffffff')
  }
  writeSeqno(bytes, 0, Number.MAX_SAFE_INTEGER)
  t.equal(bytes.toString('hex'), '001fffffffffffff')
  t.equal(readSeqno(bytes, 0), Number.MAX_SAFE_INTEGER)
  t.end()
})

t.test('keys belong to the vbuckets that Couchbase clients choose', t => {
  // CRC-32 of these texts: 0, 0x3610a686, 0xcbf43926 (the check value every CRC-32 is tested with).
  t.equal(vbucketOf('', 1024), 0)
  t.equal(vbucketOf('hello', 1024), 0x3610 % 1024)
  t.equal(vbucketOf(Buffer.from('123456789'), 1024), 0x4bf4 % 1024)
  t.equal(vbucketOf('123456789', 1000), 0x4bf4 % 1000)
  t.equal(vbucketOf('anything', 1), 0)
  t.end()
})

t.test('LEB128 that is padded, endless or too large is refused', t => {
  const read = (hex: string) => {
    const bytes = Buffer.from(hex, 'hex')
    return readLeb128(bytes, 0, bytes.length)
  }
  t.same(read('00'), { value: 0, length: 1 })
  t.same(read('7f'), { value: 127, length: 1 })
  t.same(read('8001'), { value: 128, length: 2 })
  t.same(read('0801'), { value: 8, length: 1 })
  t.same(read('ffffffff0f'), { value: 0xffffffff, length: 5 })
  for (const hex of ['', '80', 'ffffffff', '8000', 'ff00', 'ffffffff1f', '808080808001']) {
    t.equal(read(hex), undefined, hex)
  }
  t.end()
})

t.test('the value of a stream request is read and written', t => {
  const decode = decodeStreamRequestValue
  t.same(decode(''), {})
  t.same(decode('{}'), {})
  t.same(decode('{"purge_seqno":"81021"}'), { purgeSeqno: 81021 })
  t.same(decode('{"uid":"b4","sid":71,"scope":"9"}'), {
    manifestUid: 0xb4n,
    streamId: 71,
    scope: 9,
  })
  t.same(decode('{"collections":["0","8a"],"unknown":[1]}'), { collections: [0, 0x8a] })
  const value = { manifestUid: 0xb4n, collections: [0, 138], streamId: 71, purgeSeqno: 81021 }
  t.equal(
    encodeStreamRequestValue(value),
    '{"uid":"b4","collections":["0","8a"],"sid":71,"purge_seqno":"81021"}',
  )
  t.same(decode(encodeStreamRequestValue(value)), value)
  t.equal(encodeStreamRequestValue({}), '')
  t.end()
})

t.test('a malformed value of a stream request is refused', t => {
  const texts = [
    'x',
    '[]',
    'null',
    '7',
    '{"purge_seqno":81021}',
    '{"purge_seqno":"0x10"}',
    '{"purge_seqno":""}',
    '{"uid":7}',
    '{"uid":"0x7"}',
    '{"uid":"11112222333344445"}',
    '{"collections":[]}',
    '{"collections":[0]}',
    '{"collections":"0"}',
    '{"scope":"100000000"}',
    '{"sid":0}',
    '{"sid":65536}',
    '{"sid":"1"}',
    '{"sid":1.5}',
  ]
  for (const text of texts) t.equal(decodeStreamRequestValue(text), undefined, text)
  t.same(decodeStreamRequestValue('{"__proto__":{"sid":0}}'), {})
  t.end()
})

t.test('durations lose precision as they grow, and never overflow', t => {
  t.equal(encodeDurationMicros(0), 0)
  t.equal(encodeDurationMicros(1e12), 0xffff)
  for (const micros of [1, 10, 1000, 250_000, 100_000_000]) {
    const decoded = decodeDurationMicros(encodeDurationMicros(micros))
    t.ok(Math.abs(decoded - micros) <= Math.max(2, micros * 0.05), `${micros} reads ${decoded}`)
  }
  t.end()
})

t.test('framing extras that do not fit are the caller’s mistake', t => {
  t.throws(() => encodeRequestFraming({ impersonate: 'x'.repeat(300) }), RangeError)
  t.equal(encodeRequestFraming({}).length, 0)
  t.equal(encodeRequestFraming({ durabilityLevel: 0, durabilityTimeoutMs: 5 }).length, 0)
  t.end()
})
