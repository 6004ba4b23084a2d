import assert from 'node:assert/strict'
import t from 'tap'
import {
  decodeFrame,
  encodeRequest,
  Frame,
  FrameReader,
  headerLength,
  Opcode,
  writeHeader,
} from '../../protocol/index.ts'

const limits = { maxBodyBytes: 1000, skipBodyBytes: 5000 }

const set = (key: string, value: string | Uint8Array, opaque = 0) =>
  encodeRequest({ opcode: Opcode.set, extras: Buffer.alloc(8), key, value, opaque })

/** A header that announces a body, with a key of one byte. */
function announce(bodyLength: number, opaque = 0): Buffer {
  const header = Buffer.alloc(headerLength)
  writeHeader(header, 0, 0x80, Opcode.set, 1, 8, 0, 0, bodyLength, opaque, 0, 0)
  return header
}

t.test('a key can be given a prefix where it lies, also in a copy', t => {
  const extras = Buffer.from('0102030405060708', 'hex')
  const fields = { opcode: Opcode.set, extras, key: 'key', value: 'value', cas: 0x11223344n }
  const framing = Buffer.from('50', 'hex')
  for (const bytes of [encodeRequest(fields), encodeRequest({ ...fields, framing })]) {
    const around = Buffer.concat([Buffer.from('before'), bytes, Buffer.from('after')])
    const frame = decodeFrame(around, 6) as Frame
    frame.prefixKey(9)
    for (const prefixed of [frame, frame.copy()]) {
      t.equal(prefixed.key().toString(), '\u0009key')
      t.same(prefixed.extras(), extras)
      t.equal(prefixed.value().toString(), 'value')
      t.equal(prefixed.cas, 0x11223344n)
    }
    t.equal(frame.copy().end, bytes.length)
    t.equal(around.toString('latin1', 0, 6), 'before')
    t.equal(around.toString('latin1', around.length - 5), 'after')
  }
  t.end()
})

t.test('frames within a chunk are views of it', t => {
  const chunk = Buffer.concat([set('a', '1'), set('b', '2')])
  const reader = new FrameReader(limits)
  const keys: string[] = []
  reader.read(chunk, frame => {
    t.equal(frame.bytes, chunk)
    t.equal(frame.key().buffer, chunk.buffer)
    t.equal(frame.value().buffer, chunk.buffer)
    keys.push(frame.key().toString())
  })
  t.same(keys, ['a', 'b'])
  t.equal(reader.pendingBytes, 0)
  t.end()
})

t.test('a plain Uint8Array is read without a copy', t => {
  const bytes = set('a', '1')
  const chunk = new Uint8Array(bytes.length + 7)
  chunk.set(bytes, 7)
  new FrameReader(limits).read(chunk.subarray(7), frame => {
    t.equal(frame.bytes.buffer, chunk.buffer)
    t.equal(frame.key().toString(), 'a')
  })
  t.end()
})

t.test('one frame object serves all frames, and copies stay', t => {
  const reader = new FrameReader(limits)
  const seen = new Set<Frame>()
  const copies: Frame[] = []
  for (const chunk of [set('a', '1'), set('b', '2')]) {
    reader.read(chunk, frame => {
      seen.add(frame)
      copies.push(frame.copy())
    })
    chunk.fill(0)
  }
  t.equal(seen.size, 1)
  t.same(
    copies.map(copy => copy.value().toString()),
    ['1', '2'],
  )
  t.equal([...seen][0]!.bytes.length, 0, 'the reader does not hold on to a chunk')
  t.end()
})

t.test('a visitor that returns false pauses the reader until resume', t => {
  const reader = new FrameReader(limits)
  const opaques: number[] = []
  const visit = (frame: Frame) => {
    opaques.push(frame.opaque)
    return frame.opaque % 2 === 0
  }
  const frames = [1, 2, 3, 4, 5].map(opaque => set('k', 'v', opaque))
  reader.read(Buffer.concat([frames[0]!, frames[1]!, frames[2]!]), visit)
  t.same(opaques, [1])
  t.equal(reader.paused, true)
  t.equal(reader.pendingBytes, frames[1]!.length + frames[2]!.length)

  reader.read(frames[3]!.subarray(0, 10), visit)
  t.same(opaques, [1], 'what is read while paused is only kept')
  reader.resume(visit)
  t.same(opaques, [1, 2, 3])
  t.equal(reader.paused, true)
  reader.resume(visit)
  t.equal(reader.paused, false)
  t.equal(reader.pendingBytes, 10)

  reader.read(Buffer.concat([frames[3]!.subarray(10), frames[4]!]), visit)
  t.same(opaques, [1, 2, 3, 4, 5])
  t.end()
})

t.test('a chunk that is used again after read does not change what was kept', t => {
  const reader = new FrameReader(limits)
  const chunk = Buffer.concat([set('a', '1'), set('b', '2'), set('c', '3').subarray(0, 30)])
  reader.read(chunk, () => false)
  chunk.fill(0xff)
  const keys: string[] = []
  const visit = (frame: Frame) => void keys.push(frame.key().toString())
  t.equal(reader.resume(visit), undefined)
  t.equal(reader.read(set('c', '3').subarray(30), visit), undefined)
  t.same(keys, ['b', 'c'])
  t.end()
})

t.test('a body beyond the limit is visited once and dropped without being kept', t => {
  const reader = new FrameReader(limits)
  const visited: { opaque: number; oversized: boolean; bodyLength: number; key: number }[] = []
  const visit = (frame: Frame) => {
    const { opaque, oversized, bodyLength, keyLength: key } = frame
    visited.push({ opaque, oversized, bodyLength, key })
  }
  reader.read(announce(1001, 7), visit)
  t.same(visited, [{ opaque: 7, oversized: true, bodyLength: 1001, key: 0 }])
  for (let sent = 0; sent < 1000; sent += 100) {
    reader.read(Buffer.alloc(100, 0x80), visit)
    t.equal(reader.pendingBytes, 0)
  }
  reader.read(Buffer.concat([Buffer.alloc(1), set('k', 'v', 8)]), visit)
  t.same(visited.slice(1), [{ opaque: 8, oversized: false, bodyLength: 10, key: 1 }])
  t.end()
})

t.test('a body beyond the limit is dropped while paused, too', t => {
  const reader = new FrameReader(limits)
  const opaques: number[] = []
  reader.read(announce(2000, 7), frame => {
    opaques.push(frame.opaque)
    return false
  })
  reader.read(Buffer.alloc(1500), () => t.fail('paused'))
  t.equal(reader.pendingBytes, 0)
  reader.read(Buffer.concat([Buffer.alloc(500), set('k', 'v', 8)]), () => t.fail('paused'))
  reader.resume(frame => void opaques.push(frame.opaque))
  t.same(opaques, [7, 8])
  t.end()
})

t.test('lengths that contradict each other are reported, and the body is skipped', t => {
  const wrong = Buffer.concat([announce(4, 7), Buffer.from([0x80, 1, 2, 3])])
  const reader = new FrameReader(limits)
  const seen: [number, boolean, number][] = []
  const error = reader.read(Buffer.concat([wrong, set('k', 'v', 8)]), frame => {
    seen.push([frame.opaque, frame.malformed, frame.extras().length])
  })
  t.equal(error, undefined)
  t.same(seen, [
    [7, true, 0],
    [8, false, 8],
  ])
  t.end()
})

t.test('a body beyond what may be skipped ends the stream, as does a bad magic', t => {
  const first = new FrameReader(limits)
  const visited: number[] = []
  const visit = (frame: Frame) => void visited.push(frame.opaque)
  const error = first.read(Buffer.concat([set('k', 'v', 1), announce(5001, 2)]), visit)
  t.match(error, { kind: 'too-large', opcode: Opcode.set, opaque: 2, bodyLength: 5001 })
  t.same(visited, [1], 'what came before it is visited')
  t.equal(first.read(set('k', 'v', 3), visit), error)
  t.equal(first.resume(visit), error)
  t.equal(first.pendingBytes, 0)
  t.same(visited, [1])

  const second = new FrameReader(limits)
  t.match(second.read(Buffer.from('get a\r\n'), visit), { kind: 'bad-magic', magic: 0x67 })
  t.end()
})

t.test('a promise of a large body costs no memory before it arrives', t => {
  const reader = new FrameReader({ maxBodyBytes: 1 << 30, skipBodyBytes: 1 << 30 })
  const readers = Array.from({ length: 200 }, () => {
    const patient = new FrameReader({ maxBodyBytes: 1 << 30, skipBodyBytes: 1 << 30 })
    patient.read(announce(1 << 30), () => t.fail('not whole'))
    return patient
  })
  const before = process.memoryUsage().arrayBuffers
  for (const patient of readers) patient.read(Buffer.alloc(100), () => t.fail('not whole'))
  const grown = process.memoryUsage().arrayBuffers - before
  t.ok(grown < 200 * 64 * 1024, `${grown} bytes for 200 promises of 1 GiB`)

  let isWhole = false
  const body = Buffer.alloc(3 << 20).map((_, at) => at % 251)
  const bytes = set('k', body)
  for (let at = 0; at < bytes.length; at += 65536) {
    reader.read(bytes.subarray(at, at + 65536), frame => {
      isWhole = frame.value().equals(body)
    })
  }
  t.equal(isWhole, true)
  t.end()
})

t.test('bodies of exactly the limits are within them', t => {
  const whole = new FrameReader(limits)
  const seen: boolean[] = []
  const visit = (frame: Frame) => void seen.push(frame.oversized)
  whole.read(Buffer.concat([announce(1000), Buffer.alloc(1000)]), visit)
  t.equal(whole.read(announce(5000), visit), undefined)
  t.same(seen, [false, true])
  t.end()
})

t.test('a frame cut in its header and in its body is put together', t => {
  const bytes = set('key', 'x'.repeat(900), 9)
  const reader = new FrameReader(limits)
  let visits = 0
  for (const byte of Buffer.concat([bytes, bytes])) {
    reader.read(Buffer.of(byte), frame => {
      visits++
      assert.equal(frame.value().toString(), 'x'.repeat(900))
      assert.equal(frame.opaque, 9)
    })
  }
  t.equal(visits, 2)
  t.end()
})

t.test('decodeFrame reads a frame in the middle of a buffer', t => {
  const bytes = Buffer.concat([Buffer.alloc(5), set('key', 'value')])
  const frame = decodeFrame(bytes, 5)
  if (!(frame instanceof Frame)) throw new Error('not a frame')
  t.equal(frame.start, 5)
  t.equal(frame.key().toString(), 'key')
  t.equal(frame.extrasUint32(4), 0)
  t.equal(frame.end, bytes.length)
  t.end()
})
