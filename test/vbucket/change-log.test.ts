import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { LogReader } from '../../src/storage/log-reader.ts'
import { positionAt } from '../../src/storage/log-segment.ts'
import { RecordKind, RecordView } from '../../src/storage/record.ts'
import { hashKey } from '../../src/storage/key-hash.ts'
import { LargePages } from '../../src/storage/large-pages.ts'
import { ChangeIndex } from '../../src/vbucket/change-index.ts'
import { ChangeLog } from '../../src/vbucket/change-log.ts'
import { SeqnoRun } from '../../src/vbucket/seqno-run.ts'

/** Few keys and fewer hashes, so that runs of the table collide and wrap around its end. */
const indexCommand = fc.record({
  kind: fc.constantFrom('put', 'put', 'find', 'remove'),
  key: fc.nat(40),
})

t.test('the change index agrees with a map, whatever collides', async t => {
  const property = fc.property(
    fc.array(indexCommand, { maxLength: 400, size: 'max' }),
    fc.integer({ min: 1, max: 41 }),
    (commands, hashes) => {
      const keyAt = new Map<number, number>()
      const index = new ChangeIndex(
        {
          isKeyAt: (segment, units, vbid, bytes) =>
            vbid === 0 && keyAt.get(positionAt(segment, units)) === bytes[0],
        },
        new LargePages(),
        16,
      )
      const model = new Map<number, number>()
      // Spread over all of the table, the last places too.
      const hashOf = (key: number) => ((key % hashes) * 0x61c88647) >>> 0
      // The first segment has the number 1.
      let position = positionAt(1, 0)
      for (const { kind, key } of commands) {
        const hash = hashOf(key)
        const bytes = Uint8Array.of(key)
        const expected = model.get(key) ?? -1
        if (kind === 'put') {
          position++
          keyAt.set(position, key)
          assert.equal(index.put(hash, 0, bytes, 0, 1, position), expected)
          model.set(key, position)
        } else if (kind === 'find') {
          assert.equal(index.find(hash, 0, bytes, 0, 1), expected)
        } else if (expected >= 0) {
          // A position that is not the newest one of its key changes nothing.
          index.remove(hash, position + 1)
          assert.equal(index.find(hash, 0, bytes, 0, 1), expected)
          index.remove(hash, expected)
          model.delete(key)
        } else {
          index.remove(hash, positionAt(2, 0))
        }
        assert.equal(index.size, model.size)
      }
      for (let key = 0; key <= 40; key++) {
        assert.equal(index.find(hashOf(key), 0, Uint8Array.of(key), 0, 1), model.get(key) ?? -1)
      }
    },
  )
  fc.assert(property, { numRuns: 300 })
  t.pass()
})

t.test('the hash of a key takes its vbucket in and does not see what surrounds it', async t => {
  const bytes = Buffer.from('..key..')
  t.equal(hashKey(7, bytes, 2, 3), hashKey(7, Buffer.from('key'), 0, 3))
  t.not(hashKey(7, bytes, 2, 3), hashKey(8, bytes, 2, 3))
})

t.test('a run of seqnos agrees with an array', async t => {
  const command = fc.oneof(
    fc.constant('push' as const),
    fc.constant('push' as const),
    fc.nat(100).map(share => ({ dropShare: share / 100 })),
  )
  const property = fc.property(
    fc.integer({ min: 1, max: 10 ** 6 }),
    fc.array(command, { maxLength: 300, size: 'max' }),
    (start, commands) => {
      const run = new SeqnoRun()
      let held: { seqno: number; position: number }[] = []
      let seqno = start
      for (const command of commands) {
        if (command === 'push') {
          run.push(seqno, seqno * 8)
          held.push({ seqno, position: seqno * 8 })
          seqno++
        } else if (held.length > 0) {
          const last = held[Math.floor(command.dropShare * (held.length - 1))]!
          run.dropThrough(last.seqno, last.position + 1)
          assert.equal(run.length, held.length, 'an entry at another position is another life')
          run.dropThrough(last.seqno, last.position)
          held = held.filter(each => each.seqno > last.seqno)
        }
        assert.equal(run.length, held.length)
        if (held.length > 0) assert.equal(run.first, held[0]!.seqno)
        for (const each of held) assert.equal(run.positionOf(each.seqno), each.position)
        assert.equal(run.positionOf(seqno), -1)
        const middle = held[held.length >> 1]
        if (middle) {
          assert.equal(run.countBefore(middle.position), held.indexOf(middle))
          assert.equal(run.countBefore(middle.position + 1), held.indexOf(middle) + 1)
        }
      }
    },
  )
  fc.assert(property, { numRuns: 200 })
  const gap = new SeqnoRun()
  gap.push(1, 0)
  t.throws(() => gap.push(3, 8), { message: 'seqnos are allocated without gaps' })
})

interface Scene {
  log: ChangeLog
  released: number[]
  opened: number[]
  /** Of all segments so far, each once. */
  memories: Set<SharedArrayBuffer>
  high: Map<number, number>
  append: (vbid: number, key: string, valueLength?: number) => number
}

interface SceneOptions {
  readonly segmentBytes?: number
  readonly retainBytes?: number
  readonly onSegment?: (number: number, memory: SharedArrayBuffer) => void
}

function scene(options: SceneOptions = {}): Scene {
  const opened: number[] = []
  const released: number[] = []
  const memories = new Set<SharedArrayBuffer>()
  const high = new Map<number, number>()
  const log = new ChangeLog({
    segmentBytes: options.segmentBytes ?? 4096,
    retainBytes: options.retainBytes ?? 16_384,
    cacheBytes: 0,
    onSegment: (number, memory) => {
      opened.push(number)
      memories.add(memory)
      options.onSegment?.(number, memory)
    },
    onRelease: number => released.push(number),
  })
  const append = (vbid: number, key: string, valueLength = 10) => {
    const seqno = (high.get(vbid) ?? 0) + 1
    high.set(vbid, seqno)
    const head = {
      kind: RecordKind.mutation,
      vbid,
      datatype: 0,
      casHigh: 1,
      casLow: seqno,
      seqno,
      revno: 1,
      flags: 0,
      time: 0,
    }
    const bytes = Buffer.from(`<${key}>`)
    const record = log.append(head, bytes, 1, bytes.length - 2, valueLength)
    record.bytes.fill(seqno & 0xff, record.valueStart, record.end)
    return seqno
  }
  return { log, released, opened, memories, high, append }
}

t.test('the newest change of a key is found, its older ones know their successor', async t => {
  const { log, append } = scene()
  const view = new RecordView()
  const key = Buffer.from('a')
  t.equal(log.find(1, key, 0, 1, view), false)
  append(1, 'a')
  append(1, 'b')
  append(2, 'a')
  append(1, 'a')
  t.equal(log.find(1, key, 0, 1, view), true)
  t.equal(view.seqno, 3)
  t.equal(view.key().toString(), 'a')
  t.equal(log.find(2, key, 0, 1, view), true)
  t.equal(view.seqno, 1)
  t.equal(log.find(3, key, 0, 1, view), false)
  t.ok(log.at(1, 1, view))
  t.equal(log.supersededBy(view), 3)
  t.ok(log.at(1, 2, view))
  t.equal(log.supersededBy(view), 0)
  t.equal(log.at(1, 4, view), false)
  t.equal(log.lowestSeqno(1, 3), 1)
  t.equal(log.lowestSeqno(9, 0), 1, 'a vbucket without changes has nothing in memory')
})

t.test('only what is committed is released, and only beyond what is to be retained', async t => {
  const { log, append, released } = scene({ retainBytes: 8192 })
  for (let i = 0; i < 400; i++) append(0, `key-${i}`)
  t.same(released, [], 'nothing is on disk')
  t.ok(log.unflushedBytes > 30_000)
  t.equal(log.retainedBytes, log.unflushedBytes)
  const { end } = log
  log.markCommitted(end)
  t.equal(log.unflushedBytes, 0)
  t.equal(log.committed, end)
  t.ok(released.length > 0)
  t.same(
    released,
    released.map((_, index) => index + 1),
    'oldest first',
  )
  t.ok(log.retainedBytes <= 8192 + 4096, `${log.retainedBytes} bytes are retained`)
  t.throws(() => log.markCommitted(end - 8), { message: 'the flusher goes forward only' })
})

t.test('an entry larger than a segment gets one of its own', async t => {
  const { log, append, released, opened } = scene({ retainBytes: 0 })
  append(0, 'small')
  append(0, 'large', 100_000)
  append(0, 'small')
  t.same(opened, [1, 2, 3])
  const view = new RecordView()
  t.ok(log.find(0, Buffer.from('large'), 0, 5, view))
  t.equal(view.valueLength, 100_000)
  t.ok(view.value().every(byte => byte === 2))
  log.markCommitted(log.end)
  t.same(released, [1, 2])
  for (let i = 0; i < 200; i++) append(0, `key-${i}`)
  t.ok(log.at(0, 203, view))
  t.equal(view.key().toString(), 'key-199')
  t.equal(view.valueLength, 10)
})

t.test('a segment that is used again shows nothing of what it held', async t => {
  const { log, append } = scene({ retainBytes: 0 })
  const view = new RecordView()
  for (let round = 0; round < 20; round++) {
    for (let i = 0; i < 100; i++) append(0, `key-${round}-${i}`)
    log.markCommitted(log.end)
    for (let i = 0; i < 100; i++) {
      const key = Buffer.from(`key-${round - 1}-${i}`)
      const found = log.find(0, key, 0, key.length, view)
      if (found) assert.equal(view.key().toString(), key.toString())
    }
  }
  t.pass()
})

t.test(
  'the flusher finds in memory that is used again what was appended, and nothing older',
  async t => {
    const lengths = fc.array(fc.nat(700), { minLength: 1, maxLength: 12 })
    const property = fc.property(fc.array(lengths, { maxLength: 25 }), batches => {
      const reader = new LogReader()
      const { log, append } = scene({
        segmentBytes: 1024,
        retainBytes: 0,
        onSegment: (number, memory) => reader.addSegment(number, memory),
      })
      for (const [round, batch] of batches.entries()) {
        const keys = batch.map((length, index) => {
          append(0, `key-${round}-${index}`, length)
          return `key-${round}-${index}`
        })
        const step = { kind: 'apply', upTo: log.end } as const
        const [stretch] = reader.stretches([step])
        const found = stretch!.flatMap(({ positions }) =>
          positions.map(position => reader.recordAt(position).key().toString()),
        )
        assert.deepEqual(found, keys)
        reader.markApplied([step])
        log.markCommitted(log.end)
      }
    })
    fc.assert(property, { numRuns: 100 })
    t.pass()
  },
)

t.test('memory that is given up is used again, so that it never grows beyond its peak', async t => {
  const { log, append, opened, memories } = scene({ retainBytes: 0 })
  let peak = 0
  for (let round = 0; round < 20; round++) {
    // As large as several segments, and of another length each time.
    for (let i = 0; i < 3; i++) append(0, `large-${i}`, 30_000 + 123 * round + i)
    for (let i = 0; i < 300; i++) append(0, `key-${i}`)
    log.markCommitted(log.end)
    if (round === 0) peak = memories.size
  }
  t.ok(opened.length > 10 * peak, `${opened.length} segments`)
  t.ok(memories.size <= peak + 1, `${memories.size} pieces of memory, ${peak} in the first round`)
})

t.test('what is forgotten is not found, and a new life of the vbucket begins at 1', async t => {
  const { log, append, high, released } = scene({ retainBytes: 0 })
  const view = new RecordView()
  for (let i = 0; i < 60; i++) append(1, `key-${i % 7}`)
  append(2, 'other')
  log.forget(1)
  high.delete(1)
  t.equal(log.find(1, Buffer.from('key-1'), 0, 5, view), false)
  t.equal(log.lowestSeqno(1, 0), 1)
  t.ok(log.find(2, Buffer.from('other'), 0, 5, view))
  append(1, 'key-1')
  t.ok(log.at(1, 1, view))
  t.equal(log.supersededBy(view), 0)
  for (let i = 0; i < 60; i++) append(2, `fill-${i}`)
  log.markCommitted(log.end)
  t.ok(released.length > 0, 'entries of the earlier life are released without harm')
  log.forget(9)
})

t.test('committedSeqno is the newest change on disk, released or not', async t => {
  const { log, append } = scene({ retainBytes: 1e6 })
  t.equal(log.committedSeqno(0, 12), 12, 'what is not in memory is on disk')
  append(0, 'a')
  append(0, 'b')
  t.equal(log.committedSeqno(0, 2), 0)
  log.markCommitted(log.end)
  append(0, 'c')
  t.equal(log.committedSeqno(0, 3), 2)
})

t.test('the log never lies about what it holds', async t => {
  const command = fc.oneof(
    { weight: 8, arbitrary: fc.tuple(fc.nat(2), fc.nat(12), fc.nat(300)) },
    { weight: 1, arbitrary: fc.constant('commit' as const) },
    { weight: 1, arbitrary: fc.nat(2).map(vbid => ({ forget: vbid })) },
  )
  const property = fc.property(fc.array(command, { maxLength: 250, size: 'max' }), commands => {
    const { log, append, high } = scene({ segmentBytes: 1024, retainBytes: 2048 })
    const view = new RecordView()
    /** By vbucket: the key of each seqno. */
    const model: string[][] = [[], [], []]
    for (const command of commands) {
      if (command === 'commit') log.markCommitted(log.end)
      else if ('forget' in command) {
        log.forget(command.forget)
        high.delete(command.forget)
        model[command.forget] = []
      } else {
        const [vbid, key, length] = command
        append(vbid, `k${key}`, length)
        model[vbid]!.push(`k${key}`)
      }
      for (const [vbid, keys] of model.entries()) {
        const lowest = log.lowestSeqno(vbid, keys.length)
        assert.ok(lowest >= 1 && lowest <= keys.length + 1)
        assert.equal(log.at(vbid, lowest - 1, view), false)
        for (let seqno = lowest; seqno <= keys.length; seqno++) {
          assert.ok(log.at(vbid, seqno, view), `seqno ${seqno} from ${lowest} is in memory`)
          assert.equal(view.seqno, seqno)
          assert.equal(view.key().toString(), keys[seqno - 1])
          const next = keys.indexOf(keys[seqno - 1]!, seqno) + 1
          assert.equal(log.supersededBy(view), next)
        }
        for (let key = 0; key <= 12; key++) {
          const bytes = Buffer.from(`k${key}`)
          const newest = keys.lastIndexOf(`k${key}`) + 1
          const found = log.find(vbid, bytes, 0, bytes.length, view)
          assert.equal(found, newest >= lowest && newest > 0)
          if (found) assert.equal(view.seqno, newest)
        }
      }
    }
  })
  fc.assert(property, { numRuns: 60 })
  t.pass()
})
