import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Applier } from '../../src/storage/apply.ts'
import { writeFrames, type Slab } from '../../src/storage/block-frames.ts'
import { BlockScan, blockWith } from '../../src/storage/block-scan.ts'
import { blockBytesMax, countInBlock, findInBlock, sealBlock } from '../../src/storage/block.ts'
import { checkEnvironment } from '../../src/storage/check.ts'
import { dropSome } from '../../src/storage/drop.ts'
import { openEnvironment, type Environment } from '../../src/storage/environment.ts'
import { purge } from '../../src/storage/purge.ts'
import { RecordKind, recordLength, RecordView, writeRecordHead } from '../../src/storage/record.ts'
import { RecordFilter } from '../../src/storage/record-filter.ts'
import { OutgoingFrame, type FrameForm } from '../../src/storage/record-frame.ts'
import { newVbucketRecord } from '../../src/vbucket/vbucket.ts'
import { wholeForm } from '../support/frame-form.ts'

const vbid = 3

interface Change {
  key: string
  seqno: number
  valueBytes: number
  isDeletion?: boolean
}

function recordOf({ key, seqno, valueBytes, isDeletion = false }: Change): RecordView {
  const kind = isDeletion ? RecordKind.deletion : RecordKind.mutation
  const length = isDeletion ? 0 : valueBytes
  const bytes = Buffer.alloc(recordLength(kind, key.length, length, 0), seqno & 0xff)
  const meta = { vbid, datatype: 0, casHigh: 1, casLow: seqno, revno: 1, flags: 0, time: 0 }
  writeRecordHead(bytes, 0, { kind, seqno, ...meta }, key.length, length)
  const view = new RecordView().at(bytes, 0)
  bytes.write(key, view.keyStart)
  return view
}

/** A vbucket in an environment of its own, and what has been stored in it. */
class Scene {
  readonly environment: Environment
  readonly applier: Applier
  /** Newest version of each key. */
  readonly newest = new Map<string, Change>()
  high = 0

  constructor(t: Test, directory = t.testdir()) {
    const options = { directory, mapSizeBytes: 2 ** 30, readerSlotsMax: 10, create: true }
    this.environment = openEnvironment(options)
    this.applier = new Applier(this.environment)
    this.write(() => this.applier.setVbucket(vbid, newVbucketRecord(1, 7n)))
  }

  write(work: () => void): void {
    this.environment.write(() => {
      this.applier.begin()
      work()
      this.applier.finish()
    })
    this.applier.committed()
  }

  store(changes: Omit<Change, 'seqno'>[]): void {
    this.write(() => {
      for (const change of changes) {
        const whole = { ...change, seqno: ++this.high }
        this.applier.apply(recordOf(whole), 100)
        this.newest.set(change.key, whole)
      }
      this.applier.advance(vbid, this.high, 5n)
    })
  }

  /** Seqnos of the records that live, by block. */
  blocks(): number[][] {
    const scan = new BlockScan(this.environment)
    const found: number[][] = []
    for (const shown of scan.blocks({ vbid, from: 0, to: Infinity })) {
      found.push([...shown.live()].map(({ seqno }) => seqno))
    }
    return found
  }

  /** How many records lie in each block, superseded ones too. */
  stored(): number[] {
    const counts: number[] = []
    for (const { value } of this.environment.blocks.getRange({ start: { vbid, seqno: 0 } })) {
      counts.push(countInBlock(value, value.length))
    }
    return counts
  }

  check(): void {
    const live = [...this.newest.values()].map(({ seqno }) => seqno).sort((a, b) => a - b)
    assert.deepEqual(this.blocks().flat(), live)
    assert.deepEqual(checkEnvironment(this.environment), [])
  }
}

const numbered = (count: number, valueBytes: number, first = 0) =>
  Array.from({ length: count }, (_, i) => ({ key: `key-${first + i}`, valueBytes }))

t.test('changes that follow each other share a block, those of later commits too', async t => {
  const scene = new Scene(t)
  scene.store(numbered(5, 100))
  t.same(scene.blocks(), [[1, 2, 3, 4, 5]])
  scene.store(numbered(2, 100, 5))
  t.same(scene.blocks(), [[1, 2, 3, 4, 5, 6, 7]])
  scene.store(numbered(100, 300, 7))
  t.ok(scene.blocks().length > 3, 'a full block is followed by another')
  t.same(
    scene.blocks().flat(),
    Array.from({ length: 107 }, (_, i) => i + 1),
  )
  scene.check()
  await scene.environment.close()
})

t.test('what does not fit with others has a block of its own', async t => {
  const scene = new Scene(t)
  scene.store([
    { key: 'small', valueBytes: 10 },
    { key: 'large', valueBytes: 3 * blockBytesMax },
    { key: 'other', valueBytes: 10 },
  ])
  t.same(scene.blocks(), [[1], [2], [3]])
  scene.check()
  scene.store([{ key: 'large', valueBytes: 17 * 2 ** 20 }])
  t.same(scene.blocks(), [[1], [3], [4]])
  scene.check()
  scene.store([{ key: 'large', valueBytes: 10 }])
  t.same(scene.blocks(), [[1], [3], [5]])
  scene.check()
  await scene.environment.close()
})

t.test('a block that lost half is written anew; one that lost all is removed', async t => {
  const scene = new Scene(t)
  scene.store(numbered(20, 300))
  t.same(scene.stored(), [20])
  // The block is full enough for these to begin another.
  scene.store(numbered(9, 300))
  t.same(scene.stored(), [20 + 2, 7], 'superseded records stay where they are at first')
  t.equal([...scene.environment.superseded.getKeys({ start: { vbid: 0, seqno: 0 } })].length, 1)
  scene.check()
  scene.store(numbered(4, 300, 9))
  t.equal(scene.stored()[0], 22 - 13, 'written anew')
  t.equal([...scene.environment.superseded.getKeys({ start: { vbid: 0, seqno: 0 } })].length, 0)
  scene.check()
  scene.store(numbered(20, 300))
  t.equal(scene.stored().length, scene.blocks().length)
  t.ok(scene.blocks()[0]![0]! > 20, 'the first block is gone')
  scene.check()
  await scene.environment.close()
})

t.test('a transaction that was given up leaves nothing for the next', async t => {
  const scene = new Scene(t)
  scene.store(numbered(3, 100))
  assert.throws(() =>
    scene.environment.write(() => {
      scene.applier.begin()
      scene.applier.apply(recordOf({ key: 'key-0', seqno: 4, valueBytes: 9 }), 0)
      throw new Error('disk full')
    }),
  )
  scene.check()
  scene.store([{ key: 'key-1', valueBytes: 20 }])
  scene.check()
  t.same(scene.blocks(), [[1, 3, 4]])
  await scene.environment.close()
})

t.test('a vbucket that takes the place of a removed one keeps all of its records', async t => {
  const scene = new Scene(t)
  scene.store(numbered(10, 100))
  scene.write(() => {
    // Supersedes what is in a block that is then dropped, whose name is soon used again.
    scene.applier.apply(recordOf({ key: 'key-0', seqno: 11, valueBytes: 10 }), 0)
    scene.applier.flush()
    while (!dropSome(scene.environment, vbid, 4));
    scene.applier.forgetVbucket(vbid)
    scene.applier.setVbucket(vbid, newVbucketRecord(1, 8n))
    for (let seqno = 1; seqno <= 3; seqno++) {
      scene.applier.apply(recordOf({ key: `new-${seqno}`, seqno, valueBytes: 10 }), 0)
    }
    scene.applier.advance(vbid, 3, 5n)
  })
  t.same(scene.blocks(), [[1, 2, 3]])
  t.same(checkEnvironment(scene.environment), [])
  await scene.environment.close()
})

const changes = fc.array(
  fc.array(
    fc.record({
      key: fc.nat(30).map(n => `k${n}`),
      valueBytes: fc.oneof(fc.nat(400), fc.nat(400), fc.nat(3 * blockBytesMax)),
      isDeletion: fc.oneof(fc.constant(false), fc.constant(false), fc.boolean()),
    }),
    { minLength: 1, maxLength: 40 },
  ),
  { minLength: 1, maxLength: 12 },
)

t.test('whatever is stored, superseded and purged, the newest versions are there', async t => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`SEED=${seed}`)
  const root = t.testdir()
  let run = 0
  const property = fc.asyncProperty(changes, fc.nat(400), async (batches, purgeUpTo) => {
    const scene = new Scene(t, `${root}/${run++}`)
    for (const batch of batches) {
      scene.store(batch)
      scene.check()
    }
    const limitSeqno = Math.min(purgeUpTo, scene.high)
    const request = { vbid, limitSeqno, beforeSeconds: 1000, countMax: 1000 }
    scene.write(() => purge(scene.environment, scene.applier, 1, request))
    for (const [key, { isDeletion, seqno }] of scene.newest) {
      if (isDeletion && seqno <= limitSeqno && seqno < scene.high) scene.newest.delete(key)
    }
    scene.check()
    scene.store([{ key: 'k1', valueBytes: 5 }])
    scene.check()
    await scene.environment.close()
  })
  await fc.assert(property, { numRuns: 60, seed })
})

const form = { ...wholeForm, opaque: 0xdecafbad }

/** The frames of a block, one by one. */
function expectedFrames(scene: Scene, from: number, to: number, form: FrameForm): Buffer {
  const frames: Buffer[] = []
  for (const shown of new BlockScan(scene.environment).blocks({ vbid, from, to })) {
    for (const { at, seqno } of shown.live()) {
      if (seqno < from || seqno > to) continue
      const record = new RecordView().at(shown.bytes, at)
      const frame = new OutgoingFrame().of(record, form)
      const bytes = Buffer.alloc(frame.length)
      frame.write(bytes, 0)
      frames.push(bytes)
    }
  }
  return Buffer.concat(frames)
}

t.test('slabs of any size bring the same frames, each once', async t => {
  const scene = new Scene(t)
  scene.store(numbered(60, 200))
  scene.store([{ key: 'large', valueBytes: 20_000 }, ...numbered(30, 500)])
  scene.store(numbered(5, 0, 20).map(change => ({ ...change, isDeletion: true })))
  const property = fc.property(
    fc.nat(100),
    fc.nat(100),
    fc.integer({ min: 1, max: 30_000 }),
    fc.boolean(),
    fc.boolean(),
    (from, length, bytesMax, noValue, deleteTimes) => {
      const asked = { ...form, noValue, deleteTimes }
      const to = from + length
      const reached = { frames: 0, lastSeqno: from - 1, frameSeqno: from - 1 }
      const filter = new RecordFilter(asked)
      const got: Buffer[] = []
      for (let done = false; !done;) {
        const slab: Slab = { bytes: Buffer.alloc(bytesMax), length: 0, outgrown: () => {} }
        done = true
        const range = { vbid, from: reached.lastSeqno + 1, to }
        for (const block of new BlockScan(scene.environment).blocks(range)) {
          done = writeFrames(block, { toSeqno: to, form: asked, filter, bytesMax }, slab, reached)
          if (!done) break
        }
        assert.ok(slab.length > 0 || done, 'each slab brings something')
        got.push(slab.bytes.subarray(0, slab.length))
      }
      assert.ok(Buffer.concat(got).equals(expectedFrames(scene, from, to, asked)))
    },
  )
  fc.assert(property, { numRuns: 300 })
  await scene.environment.close()
})

t.test('a seqno is found in the block that has it', async t => {
  const scene = new Scene(t)
  scene.store(numbered(80, 300))
  const { blocks } = scene.environment
  for (let seqno = 1; seqno <= 80; seqno++) {
    const block = blockWith(scene.environment, vbid, seqno)
    const bytes = blocks.getBinary({ vbid, seqno: block })!
    assert.ok(findInBlock(bytes, bytes.length, seqno) > 0, `seqno ${seqno}`)
  }
  t.equal(blockWith(scene.environment, vbid + 1, 5), 5, 'there is none')
  await scene.environment.close()
})

t.test('damaged lengths neither hang nor lead out of the block', async () => {
  const records = [1, 2, 3].map(seqno => recordOf({ key: 'k', seqno, valueBytes: 40 }).bytes)
  const whole = Buffer.concat([Buffer.alloc(4), ...records])
  sealBlock(whole, whole.length)
  const property = fc.property(
    fc.array(fc.tuple(fc.nat(whole.length - 1), fc.nat(255)), { minLength: 1, maxLength: 6 }),
    damages => {
      const bytes = Buffer.from(whole)
      for (const [at, byte] of damages) bytes[at] = byte
      for (const seqno of [0, 1, 3, 9]) {
        const at = findInBlock(bytes, bytes.length, seqno)
        assert.ok(at === 0 || new RecordView().at(bytes, at).end <= bytes.length)
      }
      assert.ok(countInBlock(bytes, bytes.length) <= 3 + whole.length / 24)
    },
  )
  fc.assert(property, { numRuns: 2000 })
})
