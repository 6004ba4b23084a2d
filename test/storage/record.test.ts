import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import {
  DocumentEntry,
  entryHashAt,
  entryKeyStart,
  entryLengthMax,
  isEntryOf,
  writeDocumentEntry,
} from '../../src/storage/document-entry.ts'
import { hashKey } from '../../src/storage/key-hash.ts'
import {
  expiryKeyEncoder,
  holdKeyEncoder,
  indexKeyEncoder,
  seqnoKeyEncoder,
} from '../../src/storage/keys.ts'
import {
  isIntact,
  RecordKind,
  recordLength,
  RecordView,
  sealRecord,
  writeRecordHead,
  type RecordHead,
} from '../../src/storage/record.ts'
import { encodeXattrs, type Xattr } from '../../protocol/xattrs.ts'
import { OutgoingFrame, type FrameForm } from '../../src/storage/record-frame.ts'

const vbids = fc.nat(0xffff)
const seqnos = fc.oneof(
  fc.nat(1000),
  fc.nat(2 ** 31 - 1),
  fc.bigInt(0n, 2n ** 53n - 1n).map(Number),
)
const uint32s = fc.integer({ min: 0, max: 0xffffffff })

interface Encoder<Key> {
  writeKey(key: Key, target: Buffer, position: number): number
  readKey(source: Buffer, start: number, end: number): Key
}

function encoded<Key>(encoder: Encoder<Key>, key: Key): Buffer {
  const target = Buffer.alloc(512, 0xee)
  return target.subarray(3, encoder.writeKey(key, target, 3))
}

/** Whether the bytes of two keys are in the order of their fields, and read back as they were. */
function checkOrder<Key extends object>(
  encoder: Encoder<Key>,
  keys: fc.Arbitrary<Key>,
  compare: (a: Key, b: Key) => number,
): void {
  const property = fc.property(keys, keys, (a, b) => {
    const [one, other] = [encoded(encoder, a), encoded(encoder, b)]
    assert.equal(Math.sign(one.compare(other)), Math.sign(compare(a, b)))
    const again = encoder.readKey(Buffer.concat([one, one]), 0, one.length)
    assert.ok(encoded(encoder, again).equals(one))
  })
  fc.assert(property, { numRuns: 500 })
}

t.test('keys sort as the numbers in them, and are read back', async t => {
  const bySeqno = (a: { vbid: number; seqno: number }, b: { vbid: number; seqno: number }) =>
    a.vbid - b.vbid || a.seqno - b.seqno
  const places = fc.record({ vbid: fc.oneof(fc.nat(1), vbids), seqno: seqnos })
  checkOrder(seqnoKeyEncoder, places, bySeqno)
  const expiries = fc.record({ expiry: fc.oneof(fc.nat(2), uint32s), vbid: vbids, seqno: seqnos })
  checkOrder(expiryKeyEncoder, expiries, (a, b) => a.expiry - b.expiry || bySeqno(a, b))
  const holds = fc.record({ vbid: fc.nat(1), holder: fc.string({ unit: 'binary' }) })
  checkOrder(
    holdKeyEncoder,
    holds,
    (a, b) => a.vbid - b.vbid || Buffer.from(a.holder).compare(Buffer.from(b.holder)),
  )
  const names = fc.record({ vbid: fc.oneof(fc.nat(1), vbids), name: uint32s })
  checkOrder(indexKeyEncoder, names, (a, b) => a.vbid - b.vbid || a.name - b.name)
  t.pass()
})

const kinds = fc.constantFrom(RecordKind.mutation, RecordKind.deletion, RecordKind.expiration)
const heads: fc.Arbitrary<RecordHead> = fc.record({
  kind: kinds,
  vbid: vbids,
  datatype: fc.nat(3),
  casHigh: uint32s,
  casLow: uint32s,
  seqno: seqnos,
  revno: seqnos,
  flags: uint32s,
  time: uint32s,
})
interface Content {
  head: RecordHead
  key: Uint8Array
  value: Uint8Array
  start: number
}

const contents: fc.Arbitrary<Content> = fc.record({
  head: heads,
  key: fc.uint8Array({ minLength: 1, maxLength: 40 }),
  value: fc.uint8Array({ maxLength: 80 }),
  start: fc.nat(9),
})

function written({ head, key, value, start }: Content): RecordView {
  const length = recordLength(head.kind, key.length, value.length, head.flags)
  const bytes = Buffer.alloc(start + length + 5, 0xdd)
  writeRecordHead(bytes, start, head, key.length, value.length)
  bytes.set(key, start + length - value.length - key.length)
  bytes.set(value, start + length - value.length)
  return new RecordView().at(bytes, start)
}

t.test('a record shows what was written into it', async t => {
  const property = fc.property(contents, content => {
    const { head, key, value, start } = content
    const view = written(content)
    const isDeletion = head.kind !== RecordKind.mutation
    assert.equal(view.isDeletion, isDeletion)
    assert.equal(view.isExpiration, head.kind === RecordKind.expiration)
    const { kind, vbid, datatype, casHigh, casLow, seqno, revno } = view
    const shown = { kind, vbid, datatype, casHigh, casLow, seqno, revno }
    const { flags, time, ...expected } = head
    assert.deepEqual(shown, expected)
    assert.equal(view.flags, flags)
    assert.equal(view.expiry, isDeletion ? 0 : time)
    assert.equal(view.deleteTime, isDeletion ? time : 0)
    assert.equal(view.cas, (BigInt(casHigh) << 32n) | BigInt(casLow))
    assert.ok(view.key().equals(key))
    assert.ok(view.value().equals(value))
    assert.equal(view.bytes[view.end], 0xdd, 'nothing is written behind it')
    assert.equal(view.end - view.start, view.length)
    const entryBytes = Buffer.alloc(start + entryLengthMax(key.length) + 1, 0xdd)
    const block = Math.max(0, seqno - 4095)
    const length = writeDocumentEntry(view, block, entryBytes, start)
    assert.ok(entryBytes.subarray(start + length).every(byte => byte === 0xdd))
    assert.equal(entryHashAt(entryBytes, start), hashKey(vbid, key, 0, key.length))
    assert.ok(isEntryOf(entryBytes, start, key, 0, key.length))
    assert.ok(!isEntryOf(entryBytes, start, key, 0, key.length - 1))
    assert.ok(entryBytes.subarray(entryKeyStart(entryBytes, start)).indexOf(key) === 0)
    const entry = new DocumentEntry().at(entryBytes, start)
    assert.equal(entry.keyLength, key.length)
    assert.equal(entry.kind, kind)
    assert.equal(entry.seqno, seqno)
    assert.equal(entry.block, block)
    assert.equal(entry.revno, revno)
    assert.equal(entry.casHigh, casHigh)
    assert.equal(entry.casLow, casLow)
    assert.equal(entry.flags, view.flags)
    assert.equal(entry.time, time)
    assert.equal(entry.expiry, view.expiry)
    assert.equal(entry.valueLength, value.length)
    assert.equal(entry.datatype, datatype)
  })
  fc.assert(property, { numRuns: 300 })
  t.pass()
})

t.test('the greatest revision number that a client can bring is kept', async t => {
  const head: RecordHead = {
    kind: RecordKind.mutation,
    vbid: 0,
    datatype: 0,
    casHigh: 0,
    casLow: 1,
    seqno: 1,
    revno: 2 ** 64,
    flags: 0,
    time: 0,
  }
  const view = written({ head, key: Uint8Array.of(1), value: Uint8Array.of(), start: 0 })
  t.equal(view.bytes.readBigUInt64BE(32), 2n ** 64n - 1n)
  t.equal(view.revno, 2 ** 64)
})

t.test('a flipped bit anywhere, or another place, makes a record damaged', async t => {
  const property = fc.property(contents, fc.nat(), fc.nat(7), (content, at, bit) => {
    const { bytes, start, length, vbid, seqno } = written(content)
    sealRecord(bytes, start, length)
    assert.ok(isIntact(bytes, start, length, vbid, seqno))
    assert.equal(isIntact(bytes, start, length, (vbid + 1) & 0xffff, seqno), false)
    assert.equal(isIntact(bytes, start, length, vbid, seqno + 1), false)
    assert.equal(isIntact(bytes, start, length - 1, vbid, seqno), false)
    assert.equal(isIntact(bytes, start, length + 1, vbid, seqno), false)
    const place = start + (at % length)
    bytes[place] = bytes[place]! ^ (1 << bit)
    assert.equal(isIntact(bytes, start, length, vbid, seqno), false, `byte ${place - start}`)
  })
  fc.assert(property, { numRuns: 1000 })
  t.equal(isIntact(Buffer.alloc(20), 0, 20, 0, 0), false)
  t.equal(isIntact(Buffer.alloc(0), 0, 0, 0, 0), false)
})

/** Extended attributes in front of a value: their length, then as many bytes. */
function withXattrs(xattrs: Uint8Array, body: Uint8Array): Buffer {
  const length = Buffer.alloc(4)
  length.writeUInt32BE(xattrs.length)
  return Buffer.concat([length, xattrs, body])
}

const xattrFlag = 4
const jsonFlag = 1
const key = Buffer.from('\0the-key')
const xattrs = Buffer.from('attributes')
const body = Buffer.from('{"a":1}')

function forms(): FrameForm[] {
  const both = [false, true]
  return both.flatMap(noValue =>
    both.flatMap(includeXattrs =>
      both.flatMap(deleteTimes =>
        both.flatMap(expiryOpcode =>
          both.map(collections => ({
            opaque: 0xdecafbad,
            noValue,
            includeXattrs,
            deletedUserXattrs: true,
            keepSnappy: false,
            forceSnappy: false,
            deleteTimes,
            expiryOpcode,
            collections,
            filter: undefined,
            streamId: 0,
          })),
        ),
      ),
    ),
  )
}

interface Shape {
  kind: RecordKind
  hasXattrs: boolean
  hasBody: boolean
}

function shapes(): Shape[] {
  const { mutation, deletion, expiration } = RecordKind
  return [mutation, deletion, expiration].flatMap(kind =>
    [false, true].flatMap(hasXattrs =>
      [false, true].map(hasBody => ({ kind, hasXattrs, hasBody })),
    ),
  )
}

/** The frame that the protocol asks for, built the slow way. */
function expectedFrame({ kind, hasXattrs, hasBody }: Shape, form: FrameForm): Buffer {
  const keptXattrs = hasXattrs && form.includeXattrs ? withXattrs(xattrs, Buffer.alloc(0)) : null
  const keptBody = hasBody && !form.noValue ? body : null
  const value = Buffer.concat([keptXattrs, keptBody].filter(part => part !== null))
  let datatype = (keptXattrs ? xattrFlag : 0) | (keptBody ? jsonFlag : 0)
  // A record says JSON of its body; one that has only attributes left says it all the same,
  // unless the client asked for no values.
  if (keptXattrs && !keptBody && !form.noValue) datatype |= jsonFlag
  if (value.length === 0) datatype = 0
  const times = Buffer.alloc(4)
  times.writeUInt32BE(0x01020304)
  const meta = Buffer.from('00000000000000070000000000000009', 'hex')
  const isExpiration = kind === RecordKind.expiration && form.expiryOpcode
  const extras =
    kind === RecordKind.mutation
      ? Buffer.concat([meta, Buffer.from('0000beef', 'hex'), times, Buffer.alloc(7)])
      : isExpiration
        ? Buffer.concat([meta, times])
        : Buffer.concat([
            meta,
            form.deleteTimes ? times : Buffer.alloc(0),
            Buffer.alloc(form.deleteTimes ? 1 : 2),
          ])
  const shownKey = form.collections ? key : key.subarray(1)
  const opcode = kind === RecordKind.mutation ? 0x57 : isExpiration ? 0x59 : 0x58
  const header = Buffer.alloc(24)
  header[0] = 0x80
  header[1] = opcode
  header.writeUInt16BE(shownKey.length, 2)
  header[4] = extras.length
  header[5] = datatype
  header.writeUInt16BE(0x0102, 6)
  header.writeUInt32BE(extras.length + shownKey.length + value.length, 8)
  header.writeUInt32BE(form.opaque, 12)
  header.writeUInt32BE(0x11223344, 16)
  header.writeUInt32BE(0x55667788, 20)
  return Buffer.concat([header, extras, shownKey, value])
}

t.test('a record becomes the frame that a stream has negotiated, in every combination', async t => {
  for (const shape of shapes()) {
    const value = shape.hasXattrs
      ? withXattrs(xattrs, shape.hasBody ? body : Buffer.alloc(0))
      : Buffer.from(shape.hasBody ? body : '')
    const head: RecordHead = {
      kind: shape.kind,
      vbid: 0x0102,
      datatype: value.length === 0 ? 0 : jsonFlag | (shape.hasXattrs ? xattrFlag : 0),
      casHigh: 0x11223344,
      casLow: 0x55667788,
      seqno: 7,
      revno: 9,
      flags: 0xbeef,
      time: 0x01020304,
    }
    const record = written({ head, key, value, start: 5 })
    // As it lies on disk; a frame must not let the checksum through.
    sealRecord(record.bytes, record.start, record.length)
    for (const form of forms()) {
      const expected = expectedFrame(shape, form)
      const target = Buffer.alloc(400, 0xcc)
      const frame = new OutgoingFrame().of(record, form)
      const length = frame.write(target, 11)
      const text = JSON.stringify({ shape, form })
      assert.equal(length, frame.length, text)
      assert.equal(target.toString('hex', 11, 11 + length), expected.toString('hex'), text)
      assert.equal(target[10], 0xcc)
      assert.equal(target[11 + length], 0xcc)
    }
  }
  t.pass()
})

t.test('attributes of users on tombstones are for those who asked for them', async t => {
  const pair = (name: string, value: string) => ({
    key: Buffer.from(name),
    value: Buffer.from(value),
  })
  const [system, user] = [pair('_s', '1'), pair('u', '2')]
  const head: RecordHead = {
    kind: RecordKind.deletion,
    vbid: 0,
    datatype: xattrFlag,
    casHigh: 0,
    casLow: 1,
    seqno: 1,
    revno: 1,
    flags: 0,
    time: 0,
  }
  const [form] = forms().filter(({ includeXattrs, collections }) => includeXattrs && collections)
  const sent = (present: readonly Xattr[], deletedUserXattrs: boolean, noValue = false) => {
    const record = written({ head, key, value: encodeXattrs(present), start: 0 })
    const frame = new OutgoingFrame().of(record, { ...form!, deletedUserXattrs, noValue })
    const target = Buffer.alloc(frame.length)
    frame.write(target, 0)
    return { datatype: target[5], value: target.subarray(24 + target[4]! + key.length) }
  }
  const both = encodeXattrs([system, user])
  t.same(sent([system, user], true), { datatype: xattrFlag, value: both })
  const kept = { datatype: xattrFlag, value: encodeXattrs([system]) }
  t.same(sent([system, user], false), kept)
  t.same(sent([system, user], false, true), kept, 'attributes are no value')
  t.same(sent([user], false), { datatype: 0, value: Buffer.alloc(0) })
})

t.test('attributes that claim to be longer than the value are cut to it', async t => {
  const head: RecordHead = {
    kind: RecordKind.mutation,
    vbid: 0,
    datatype: xattrFlag,
    casHigh: 0,
    casLow: 1,
    seqno: 1,
    revno: 1,
    flags: 0,
    time: 0,
  }
  const target = Buffer.alloc(200)
  for (const value of [Buffer.from('ffffffff00', 'hex'), Buffer.from('0001', 'hex')]) {
    const record = written({ head, key, value, start: 0 })
    for (const form of forms()) {
      const frame = new OutgoingFrame().of(record, form)
      const length = frame.write(target, 0)
      assert.equal(length, frame.length)
      assert.ok(length <= record.length)
    }
  }
  t.pass()
})
