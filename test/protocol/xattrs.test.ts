import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  decodeXattrs,
  encodeXattrs,
  systemXattrs,
  xattrKeyLength,
  xattrSectionLength,
  type Xattr,
} from '../../protocol/xattrs.ts'

const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
t.comment(`SEED=${seed}`)
const parameters = { seed, numRuns: Number(process.env['RUNS'] ?? 1000) }

const bytesOf = (...rows: string[]): Buffer =>
  Buffer.from(rows.join('').replaceAll(/;[^;]*;|\s/g, ''), 'hex')
const hexOf = (text: string): string => Buffer.from(text).toString('hex')
const xattr = (key: string, value: string): Xattr => ({
  key: Buffer.from(key),
  value: Buffer.from(value),
})

/** The example of Couchbase's `Document.md`, byte by byte. */
const section = bytesOf(
  '00000072 00000021',
  '5f73796e6300 7b22636173223a2264656164626565666361666566656564227d 00',
  '00000049 6d65746100',
  '7b22617574686f72223a2254726f6e64204e6f72627965222c22636f6e74656e742d74797065223a22',
  '6170706c69636174696f6e2f6f637465742d73747265616d227d 00',
)
const sync = xattr('_sync', '{"cas":"deadbeefcafefeed"}')
const meta = xattr('meta', '{"author":"Trond Norbye","content-type":"application/octet-stream"}')

t.test('a section is read and written as it is drawn', t => {
  t.same(decodeXattrs(section), [sync, meta])
  t.equal(encodeXattrs([sync, meta]).toString('hex'), section.toString('hex'))
  const withBody = Buffer.concat([section, Buffer.from('{"body":true}')])
  t.equal(xattrSectionLength(withBody, 0, withBody.length), section.length)
  t.equal(systemXattrs(section).toString('hex'), encodeXattrs([sync]).toString('hex'))
  t.equal(systemXattrs(encodeXattrs([meta])).length, 0)
  t.equal(encodeXattrs([]).length, 0)
  t.end()
})

t.test('a malformed section is refused', t => {
  const pair = (key: string, value: string) => {
    const length = (key.length + value.length + 2).toString(16).padStart(8, '0')
    return `${length} ${hexOf(key)} 00 ${hexOf(value)} 00`
  }
  const malformed: Record<string, Buffer> = {
    'no length': bytesOf('000000'),
    'a length beyond the end': bytesOf('00000001'),
    'a length before the end': bytesOf('00000000 00'),
    'half the length of a pair': bytesOf('00000002 0000'),
    'a pair beyond the end': bytesOf('00000007 00000004 610031'),
    'a pair too short for its zeros': bytesOf('00000006 00000002 6100'),
    'no zero behind the key': bytesOf('00000007 00000003 616263'),
    'no zero behind the value': bytesOf('00000008 00000004 61003132'),
    'a zero in the value': bytesOf('00000009 00000005 6100310000'),
    'a pair that is longer than its parts': bytesOf('0000000a 00000006 610031000000'),
    'no key': bytesOf('00000007 00000003 003100'),
    'a virtual key': bytesOf('00000009', pair('$a', '1')),
    'a key with a dot': bytesOf('0000000a', pair('a.b', '1')),
    'a key of 16 bytes': bytesOf('00000017', pair('a'.repeat(16), '1')),
    'a key twice': bytesOf('00000010', pair('a', '1'), pair('a', '2')),
  }
  for (const [name, bytes] of Object.entries(malformed))
    t.equal(decodeXattrs(bytes), undefined, name)
  t.same(decodeXattrs(bytesOf('00000008', pair('a', '1'))), [xattr('a', '1')], 'the rest is right')
  t.end()
})

t.test('a key ends where its path begins, and begins with no punctuation', t => {
  const length = (path: string) => xattrKeyLength(Buffer.from(path))
  t.equal(length('meta'), 4)
  t.equal(length('meta.author'), 4)
  t.equal(length('list[0]'), 4)
  t.equal(length('_sync.cas'), 5)
  t.equal(length('$document'), 9)
  t.equal(length('ünïcode.x'), 9)
  t.equal(length('a'.repeat(15)), 15)
  t.equal(length(`${'a'.repeat(15)}.b`), 15)
  t.equal(length('a]b"c'), 5)
  const none = ['', '.', '[0]', '_', '$', '_.a', '$[0]', '-a', '`a`', '"a', '\u0001a', '\u007fa']
  for (const path of none.concat('a'.repeat(16), 'a\0b', 'a.b\0')) t.equal(length(path), -1, path)
  t.equal(xattrKeyLength(Buffer.from([0x61, 0x2e, 0xff])), -1, 'no UTF-8')
  t.end()
})

const anyKey = fc
  .tuple(fc.constantFrom('', '_'), fc.stringMatching(/^[a-zA-Z0-9ü][a-z\]`" ü-]{0,5}$/))
  .map(([kind, name]) => kind + name)
const anyXattrs = fc.dictionary(anyKey, fc.json(), { maxKeys: 5 })

t.test('what is encoded is decoded, and shortened or damaged sections do no harm', t => {
  const damage = fc.tuple(fc.nat(), fc.nat(255))
  fc.assert(
    fc.property(anyXattrs, damage, (values, [position, byte]) => {
      const xattrs = Object.entries(values).map(([key, value]) => xattr(key, value))
      const encoded = encodeXattrs(xattrs)
      if (xattrs.length === 0) return
      assert.deepEqual(decodeXattrs(encoded), xattrs)
      const kept = xattrs.filter(({ key }) => key[0] === 0x5f)
      assert.deepEqual(systemXattrs(encoded), encodeXattrs(kept))
      assert.equal(decodeXattrs(encoded.subarray(0, position % encoded.length)), undefined)
      const damaged = Buffer.from(encoded)
      damaged[position % encoded.length] = byte
      const decoded = decodeXattrs(damaged)
      if (decoded !== undefined) assert.deepEqual(encodeXattrs(decoded), damaged)
    }),
    parameters,
  )
  t.end()
})
