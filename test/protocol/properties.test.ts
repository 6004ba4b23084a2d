import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import {
  decodeFrame,
  decodeRequestFraming,
  encodeRequest,
  Frame,
  FrameReader,
  headerLength,
  isMagic,
  leb128At,
  leb128Length,
  Opcode,
  readLeb128,
  readSeqno,
  RequestFraming,
  writeLeb128,
  writeSeqno,
  writeUint32,
} from '../../protocol/index.ts'
import { codecs } from './codecs.ts'
import { readVectorFiles, vectorBytes } from './vector-files.ts'

/** `SEED=… RUNS=…` replays a failure or runs longer. */
const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
const runs = Number(process.env['RUNS'] ?? 1000)
t.comment(`SEED=${seed} RUNS=${runs}`)
const parameters = { seed, numRuns: runs }

/** Two sizes: limits that small frames reach, and frames beyond the room a reader starts with. */
const small = { maxBodyBytes: 60, skipBodyBytes: 120, chunkBytes: 70 }
const large = { maxBodyBytes: 9000, skipBodyBytes: 12000, chunkBytes: 5000 }
type Size = typeof small

const frames = readVectorFiles().flatMap(file => file.vectors.map(vectorBytes))
const anyVector = fc.constantFrom(...frames)

/** A body whose bytes tell their position, as long as limits allow or a little longer. */
const anyBody = ({ maxBodyBytes: max, skipBodyBytes: skip }: Size) =>
  fc
    .tuple(fc.oneof(fc.nat(max + 4), fc.constantFrom(max, max + 1, skip, skip + 1)), fc.nat(255))
    .map(([length, salt]) => Buffer.alloc(length).map((_, at) => at * 31 + salt))

/** A header with any lengths, and a body of the length it announces. */
const anyFrame = (size: Size) =>
  fc
    .record({
      magic: fc.constantFrom(0x08, 0x18, 0x80, 0x81, 0x82, 0x83),
      opcode: fc.nat(255),
      bytes2And3: fc.constantFrom(0, 1, 5, 0x0203, 0x0f0f),
      extrasLength: fc.constantFrom(0, 4, 8, 20),
      body: anyBody(size),
      opaque: fc.nat(0xffffffff),
    })
    .map(({ magic, opcode, bytes2And3, extrasLength, body, opaque }) => {
      const bytes = Buffer.alloc(headerLength + body.length)
      bytes.set([magic, opcode, bytes2And3 >> 8, bytes2And3 & 0xff, extrasLength])
      writeUint32(bytes, 8, body.length)
      writeUint32(bytes, 12, opaque)
      bytes.set(body, headerLength)
      return bytes
    })

const anyStream = (size: Size) =>
  fc
    .tuple(
      fc.array(fc.oneof(anyVector, anyFrame(size)), { maxLength: 12 }),
      fc.oneof(fc.constant(new Uint8Array(0)), fc.uint8Array({ maxLength: 40 })),
    )
    .map(([whole, rest]) => Buffer.concat([...whole, rest]))

/** Lengths of the chunks, taken in turn. */
const anyCuts = (size: Size) => fc.array(fc.nat(size.chunkBytes), { minLength: 1 })

/** What a visitor is told, as text. */
function describe(frame: Frame): string {
  const flags = `${frame.malformed ? 'malformed ' : ''}${frame.oversized ? 'oversized ' : ''}`
  const parts = [frame.framing(), frame.extras(), frame.key(), frame.value()]
  const header = [frame.magic, frame.opcode, frame.vbid, frame.opaque, frame.bodyLength, frame.cas]
  return `${flags}${header.join(' ')} ${parts.map(part => part.toString('hex')).join('|')}`
}

/** The reader's rules over a whole stream at once, written as plainly as possible. */
function expectedEvents(stream: Buffer, limits: Size): string[] {
  const events: string[] = []
  let at = 0
  while (at < stream.length) {
    if (!isMagic(stream[at]!)) return [...events, 'bad-magic']
    if (stream.length - at < headerLength) return events
    const bodyLength = stream.readUInt32BE(at + 8)
    if (bodyLength > limits.skipBodyBytes) return [...events, 'too-large']
    const whole = stream.subarray(at, at + headerLength + bodyLength)
    const frame = new Frame()
    frame.bytes = Buffer.concat([whole, Buffer.alloc(headerLength + bodyLength - whole.length)])
    frame.readHeader(0)
    if (frame.malformed || bodyLength > limits.maxBodyBytes) {
      frame.oversized = !frame.malformed
      frame.dropBody()
    } else if (whole.length < headerLength + bodyLength) return events
    events.push(describe(frame))
    at += headerLength + bodyLength
  }
  return events
}

for (const [name, size] of Object.entries({ small, large })) {
  t.test(`any stream of ${name} frames reads the same however it is cut`, t => {
    const property = fc.property(anyStream(size), anyCuts(size), (stream, lengths) => {
      const reader = new FrameReader(size)
      const events: string[] = []
      let at = 0
      for (let turn = 0; at < stream.length; turn++) {
        const length = lengths[turn % lengths.length]! + (turn % 2)
        const chunk = Buffer.from(stream.subarray(at, at + length))
        const error = reader.read(chunk, frame => void events.push(describe(frame)))
        chunk.fill(0x80)
        at += length
        if (error) {
          events.push(error.kind)
          break
        }
      }
      assert.deepEqual(events, expectedEvents(stream, size))
    })
    fc.assert(property, parameters)
    t.pass(`${runs} runs`)
    t.end()
  })

  t.test(`pauses change nothing of what is read of ${name} frames`, t => {
    const anyAnswers = fc.array(fc.boolean(), { minLength: 1 })
    const property = fc.property(
      anyStream(size),
      anyCuts(size),
      anyAnswers,
      (stream, lengths, goesOn) => {
        const reader = new FrameReader(size)
        const events: string[] = []
        let visits = 0
        const visit = (frame: Frame) => {
          events.push(describe(frame))
          return goesOn[visits++ % goesOn.length]
        }
        let error
        for (let at = 0, turn = 0; at < stream.length && !error; turn++) {
          const length = lengths[turn % lengths.length]! + (turn % 2)
          const chunk = Buffer.from(stream.subarray(at, at + length))
          error = reader.read(chunk, visit)
          chunk.fill(0x80)
          at += length
          if (!error && turn % 3 === 0) error = reader.resume(visit)
        }
        while (!error && reader.paused) error = reader.resume(visit)
        if (error) events.push(error.kind)
        assert.deepEqual(events, expectedEvents(stream, size))
      },
    )
    fc.assert(property, parameters)
    t.pass(`${runs} runs`)
    t.end()
  })
}

t.test('random bytes neither throw nor are kept without bound', t => {
  const anyMagic = fc.constantFrom(0x08, 0x18, 0x80, 0x81, 0x82, 0x83)
  const anyBytes = fc.tuple(anyMagic, fc.uint8Array({ maxLength: 200 }))
  const property = fc.property(fc.array(anyBytes), chunks => {
    const reader = new FrameReader(small)
    for (const [magic, rest] of chunks) {
      reader.read(Buffer.of(magic, ...rest), frame => void describe(frame))
      assert.ok(reader.pendingBytes < headerLength + small.maxBodyBytes)
    }
  })
  fc.assert(property, parameters)
  t.pass(`${runs} runs`)
  t.end()
})

/** A small generator of its own: a hundred thousand mutations are too many for fast-check. */
function* randomNumbers(start: number): Generator<number, never> {
  let state = start | 0
  for (;;) {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    yield (mixed ^ (mixed >>> 14)) >>> 0
  }
}

t.test('no decoder throws on a mutated frame', t => {
  const numbers = randomNumbers(seed)
  const below = (limit: number) => numbers.next().value % limit
  const framing = new RequestFraming()
  const decoders = Object.values(codecs).map(codec => codec.decode)
  let decoded = 0
  for (let run = 0; run < runs * 20; run++) {
    const bytes = Buffer.from(frames[below(frames.length)]!)
    for (let changes = 1 + below(4); changes > 0; changes--) {
      // Half of the changes hit the header, where the lengths are.
      const at = below(2) === 0 ? below(headerLength) : below(bytes.length)
      bytes[at] = below(2) === 0 ? below(256) : bytes[at]! ^ (1 << below(8))
    }
    writeUint32(bytes, 8, bytes.length - headerLength)
    const frame = decodeFrame(bytes)
    if (!(frame instanceof Frame)) continue
    decoded++
    decodeRequestFraming(frame, framing)
    for (const decode of decoders) decode(frame)
  }
  t.ok(decoded > runs, `${decoded} of ${runs * 20} were frames`)
  t.end()
})

t.test('a request that was encoded is decoded as it was', t => {
  const bytes = fc.uint8Array({ maxLength: 250 })
  const property = fc.property(
    fc.record({
      opcode: fc.nat(255),
      vbid: fc.nat(0xffff),
      opaque: fc.nat(0xffffffff),
      cas: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
      datatype: fc.nat(255),
      key: bytes,
      extras: bytes,
      value: bytes,
      framing: bytes,
    }),
    fields => {
      const frame = decodeFrame(encodeRequest(fields))
      assert.ok(frame instanceof Frame)
      const { opcode, vbid, opaque, cas, datatype } = frame
      assert.deepEqual(
        { opcode, vbid, opaque, cas, datatype },
        {
          opcode: fields.opcode,
          vbid: fields.vbid,
          opaque: fields.opaque,
          cas: fields.cas,
          datatype: fields.datatype,
        },
      )
      assert.ok(frame.key().equals(fields.key))
      assert.ok(frame.extras().equals(fields.extras))
      assert.ok(frame.value().equals(fields.value))
      assert.ok(frame.framing().equals(fields.framing))
      assert.equal(frame.magic, fields.framing.length > 0 ? 0x08 : 0x80)
    },
  )
  fc.assert(property, parameters)
  t.pass(`${runs} runs`)
  t.end()
})

t.test('lengths that no header can express are the caller’s mistake', t => {
  const noop = { opcode: Opcode.noop }
  t.throws(() => encodeRequest({ ...noop, key: 'k'.repeat(65536) }), RangeError)
  t.throws(() => encodeRequest({ ...noop, extras: Buffer.alloc(256) }), RangeError)
  t.throws(
    () => encodeRequest({ ...noop, framing: Buffer.alloc(1), key: 'k'.repeat(256) }),
    RangeError,
  )
  t.end()
})

t.test('seqnos and LEB128 numbers come back as they were', t => {
  const seqno = fc.property(fc.maxSafeNat(), value => {
    const bytes = Buffer.alloc(8)
    writeSeqno(bytes, 0, value)
    assert.equal(bytes.readBigUInt64BE(), BigInt(value))
    assert.equal(readSeqno(bytes, 0), value)
  })
  const leb128 = fc.property(fc.nat(0xffffffff), value => {
    const bytes = Buffer.alloc(8, 0xff)
    const length = writeLeb128(bytes, 1, value)
    assert.equal(length, leb128Length(value))
    assert.deepEqual(readLeb128(bytes, 1, 8), { value, length })
    assert.equal(readLeb128(bytes, 1, length), undefined, 'cut by one byte')
  })
  const padded = fc.property(fc.nat(0xffffffff), value => {
    const bytes = Buffer.alloc(8)
    const length = writeLeb128(bytes, 0, value)
    bytes[length - 1]! |= 0x80
    assert.equal(readLeb128(bytes, 0, length + 1), undefined, 'a second form of the same number')
  })
  const noise = fc.property(fc.uint8Array({ maxLength: 8 }), bytes => {
    const read = readLeb128(bytes, 0, bytes.length)
    assert.equal(leb128At(bytes, 0, bytes.length), read?.value ?? -1)
    if (read === undefined) return
    const again = Buffer.alloc(5)
    const length = writeLeb128(again, 0, read.value)
    assert.deepEqual(again.subarray(0, length), Buffer.from(bytes.subarray(0, read.length)))
  })
  fc.assert(seqno, parameters)
  fc.assert(leb128, parameters)
  fc.assert(padded, parameters)
  fc.assert(noise, parameters)
  t.pass(`${runs} runs each`)
  t.end()
})
