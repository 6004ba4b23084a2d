import assert from 'node:assert/strict'
import t from 'tap'
import {
  decodeFrame,
  encodeRequest,
  encodeResponse,
  encodeServerRequest,
  encodeServerResponse,
  Frame,
  FrameReader,
  headerLength,
  Magic,
  writeUint32,
} from '../../protocol/index.ts'
import { codecs } from './codecs.ts'
import {
  describedFields,
  describeFrame,
  readRefusedFrames,
  readRefusedMessages,
  readVectorFiles,
  vectorBytes,
} from './vector-files.ts'
import type { Vector } from './vector-files.ts'

const files = readVectorFiles()
const limits = { maxBodyBytes: 1024 * 1024, skipBodyBytes: 2 * 1024 * 1024 }

/** Absent members and members set to `undefined` mean the same in a decoded message. */
function withoutUndefined(value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return value
  if (value instanceof Uint8Array) return value
  return Object.fromEntries(Object.entries(value).filter(([, member]) => member !== undefined))
}

function wholeFrame(bytes: Buffer): Frame {
  const frame = decodeFrame(bytes)
  assert.ok(frame instanceof Frame, `not a frame: ${JSON.stringify(frame)}`)
  return frame
}

function encodeVector(codecName: string, vector: Vector, magic: number): Buffer {
  const codec = codecs[codecName]!
  const part = codec.encode(vector.fields as never)
  if (codec.part === 'message') return part
  assert.ok(vector.frame, 'the vector describes its frame')
  const fields = { ...describedFields(vector.frame), [codec.part]: part }
  if (magic === Magic.serverRequest) return encodeServerRequest(fields)
  if (magic === Magic.serverResponse) return encodeServerResponse(fields)
  return vector.frame.status === undefined ? encodeRequest(fields) : encodeResponse(fields)
}

/** Reads the bytes in two pieces, once for each place to cut; the frame must come out the same. */
function readCutEverywhere(bytes: Buffer, check: (frame: Frame) => void): void {
  for (let cut = 0; cut <= bytes.length; cut++) {
    const reader = new FrameReader(limits)
    let visits = 0
    const visit = (frame: Frame) => {
      visits++
      check(frame)
    }
    const first = Buffer.from(bytes.subarray(0, cut))
    assert.equal(reader.read(first, visit), undefined)
    assert.equal(visits, cut === bytes.length ? 1 : 0, `visited early, cut at ${cut}`)
    assert.equal(reader.pendingBytes, cut === bytes.length ? 0 : cut)
    // What was kept must not be a view of a chunk that its owner uses again.
    first.fill(0x55)
    assert.equal(reader.read(bytes.subarray(cut), visit), undefined)
    assert.equal(visits, 1, `visited once, cut at ${cut}`)
    assert.equal(reader.pendingBytes, 0)
  }
}

/** A frame whose header says it ends at each possible place: decoders refuse, but never throw. */
function decodeShortened(bytes: Buffer, decode: (frame: Frame) => unknown): void {
  for (let length = headerLength; length < bytes.length; length++) {
    const shortened = Buffer.from(bytes.subarray(0, length))
    writeUint32(shortened, 8, length - headerLength)
    const frame = decodeFrame(shortened)
    if (frame instanceof Frame) decode(frame)
    else assert.equal(frame.kind, 'lengths')
  }
}

for (const { file, codec: codecName, about, vectors } of files) {
  t.test(`${file}: ${about}`, t => {
    const codec = codecs[codecName]
    assert.ok(codec, `there is a codec ${codecName}`)
    for (const vector of vectors) {
      const bytes = vectorBytes(vector)
      const check = (frame: Frame) => {
        if (vector.frame) {
          const description = describeFrame(frame)
          if (codec.part === 'extras') delete description.extras
          if (codec.part === 'value') delete description.value
          if (codec.part === 'framing') delete description.framing
          assert.deepEqual(description, vector.frame, vector.name)
        }
        assert.deepEqual(withoutUndefined(codec.decode(frame)), vector.fields, vector.name)
      }
      const frame = wholeFrame(bytes)
      assert.equal(frame.end, bytes.length, 'the vector has no bytes after the frame')
      check(frame)
      check(frame.copy())
      if (!vector.decodeOnly) {
        assert.equal(
          encodeVector(codecName, vector, frame.magic).toString('hex'),
          bytes.toString('hex'),
          vector.name,
        )
      }
      readCutEverywhere(bytes, check)
      decodeShortened(bytes, codec.decode)
      for (let cut = 0; cut < bytes.length; cut++) {
        const error = decodeFrame(bytes.subarray(0, cut))
        assert.ok(!(error instanceof Frame) && error.kind === 'truncated', vector.name)
      }
    }
    t.pass(`${vectors.length} frames`)
    t.end()
  })
}

t.test('every codec has vectors, and every decoder a frame it refuses', t => {
  const names = Object.keys(codecs)
  const inFiles = new Set(files.map(file => file.codec))
  t.same(
    names.filter(name => !inFiles.has(name)),
    [],
  )
  const refused = new Set(readRefusedMessages().map(vector => vector.codec))
  t.same(
    names.filter(name => !refused.has(name)),
    ['plain'],
  )
  t.end()
})

t.test('bytes that are no frame are refused with the kind expected', t => {
  for (const vector of readRefusedFrames()) {
    const bytes = vectorBytes(vector)
    const error = decodeFrame(bytes)
    assert.ok(!(error instanceof Frame), vector.name)
    assert.equal(error.kind, vector.kind, vector.name)

    for (let cut = 0; cut <= bytes.length; cut++) {
      const reader = new FrameReader(limits)
      const visited: Frame[] = []
      const visit = (frame: Frame) => void visited.push(frame.copy())
      const early = reader.read(bytes.subarray(0, cut), visit)
      const late = reader.read(bytes.subarray(cut), visit)
      assert.equal(late !== undefined, vector.reader === 'error', vector.name)
      if (early) assert.equal(early, late, 'an error is reported again')
      const flags = visited.map(frame => [frame.malformed, frame.oversized])
      if (vector.reader === 'malformed') assert.deepEqual(flags, [[true, false]], vector.name)
      else if (vector.reader === 'oversized') assert.deepEqual(flags, [[false, true]], vector.name)
      else assert.deepEqual(flags, [], vector.name)
    }
    t.pass(vector.name)
  }
  t.end()
})

t.test('frames that are not the message asked for are refused', t => {
  for (const vector of readRefusedMessages()) {
    const codec = codecs[vector.codec!]
    assert.ok(codec, `there is a codec ${vector.codec}`)
    const decoded = codec.decode(wholeFrame(vectorBytes(vector)))
    const name = `${vector.codec}: ${vector.name}`
    if (vector.kind === undefined) assert.equal(decoded, undefined, name)
    else assert.equal((decoded as { kind: string }).kind, vector.kind, name)
    t.pass(name)
  }
  t.end()
})
