import t from 'tap'
import { changeLine, rollbackLine } from '../../src/cli/change-line.ts'
import type { Change } from '../../src/client/index.ts'

const change: Change = {
  type: 'mutation',
  vbid: 1,
  seqno: 2,
  revno: 3,
  cas: 2n ** 63n,
  flags: 4,
  expiry: 5,
  datatype: 1,
  key: Buffer.from('k'),
  value: Buffer.from('{}'),
  deleteTime: undefined,
  collectionId: 0,
  collection: '_default._default',
}
const line = (value: string | Buffer) => changeLine({ ...change, value: Buffer.from(value) })

t.test('a mutation is one line with all its fields', async t => {
  t.equal(
    changeLine(change),
    '{"type":"mutation","vbid":1,"seqno":2,"revno":3,"cas":"9223372036854775808",' +
      '"flags":4,"expiry":5,"key":"k","value":{}}\n',
  )
  t.notMatch(changeLine(change, { keysOnly: true }), /value/)
})

t.test('JSON stays as it is, but on one line', async t => {
  t.match(line('{"n": 12345678901234567890.10}'), /"value":{"n": 12345678901234567890.10}}\n$/)
  const pretty = line('{\r\n  "a": "x\\ny",\n  "b": [1,\n2]\n}\n')
  t.equal(pretty.trim().split('\n').length, 1)
  t.same((JSON.parse(pretty) as { value: unknown }).value, { a: 'x\ny', b: [1, 2] })
  t.match(line('"text"'), /"value":"text"}\n$/)
  t.match(line('null'), /"value":null}\n$/)
})

t.test('anything else says how it is encoded', async t => {
  t.match(line('plain "text"\n'), /"value":"plain \\"text\\"\\n","encoding":"utf8"}\n$/)
  t.match(line(''), /"value":"","encoding":"utf8"}\n$/)
  t.match(line(Buffer.from([0xff, 0xfe])), /"value":"\/\/4=","encoding":"base64"}\n$/)
})

t.test('keys that are no text are base64', async t => {
  const odd = JSON.parse(
    changeLine({ ...change, key: Buffer.from([0xff]) }, { keysOnly: true }),
  ) as object
  t.match(odd, { key: '/w==', keyEncoding: 'base64' })
})

t.test('deletions and expirations have a time and no value', async t => {
  const gone = { ...change, value: Buffer.alloc(0), flags: 0, expiry: 0 }
  const deletion = changeLine({ ...gone, type: 'deletion', deleteTime: 77 })
  t.match(deletion, /"cas":"9223372036854775808","deleteTime":77,"key":"k"}\n$/)
  const expiration = changeLine({ ...gone, type: 'expiration' })
  t.match(expiration, /^{"type":"expiration",.*"key":"k"}\n$/)
})

t.test('a rollback has a line of its own', async t => {
  t.equal(rollbackLine(3, 4), '{"type":"rollback","vbid":3,"seqno":4}\n')
})
