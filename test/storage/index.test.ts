import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { checkIndex } from '../../src/storage/check-index.ts'
import { openEnvironment, type Environment } from '../../src/storage/environment.ts'
import {
  blockEndOf,
  blockNameOf,
  buddyOf,
  findInIndexBlock,
  indexBlockBytesMax,
  searchStartIn,
} from '../../src/storage/index-block.ts'
import { IndexReader } from '../../src/storage/index-reader.ts'
import { IndexWriter } from '../../src/storage/index-writer.ts'
import { hashKey } from '../../src/storage/key-hash.ts'
import { RecordKind, recordLength, RecordView, writeRecordHead } from '../../src/storage/record.ts'

const vbid = 5

function recordOf(key: Buffer, seqno: number): RecordView {
  const kind = RecordKind.mutation
  const bytes = Buffer.alloc(recordLength(kind, key.length, 3, 0))
  const meta = { vbid, datatype: 0, casHigh: 1, casLow: 2, revno: 1, flags: seqno % 3, time: 0 }
  writeRecordHead(bytes, 0, { kind, seqno, ...meta }, key.length, 3)
  const view = new RecordView().at(bytes, 0)
  key.copy(bytes, view.keyStart)
  return view
}

const hashOf = (key: Buffer) => hashKey(vbid, key, 0, key.length)
const keyOf = (number: number, length = 0) => Buffer.from(`key-${number}-`.padEnd(length, 'x'))

/** Some keys that share their hash, two and two. */
function keysOfSameHash(pairs: number): Buffer[] {
  const seen = new Map<number, number>()
  const found: Buffer[] = []
  for (let number = 0; found.length < 2 * pairs; number++) {
    const hash = hashOf(keyOf(number))
    const other = seen.get(hash)
    if (other !== undefined) found.push(keyOf(other), keyOf(number))
    seen.set(hash, number)
  }
  return found
}

/** Keys whose hashes all begin with the same byte: their blocks are much deeper than others. */
function* keysClose(): Generator<Buffer> {
  for (let number = 0; ; number++) {
    const key = keyOf(number, 150)
    if (hashOf(key) >>> 24 === 0x5a) yield key
  }
}

const close: Buffer[] = []
for (const key of keysClose()) if (close.push(key) === 150) break
const pool = [
  ...Array.from({ length: 200 }, (_, number) => keyOf(number, number % 5 === 0 ? 250 : 60)),
  ...close,
  ...keysOfSameHash(3),
]

class Scene {
  readonly environment: Environment
  readonly writer: IndexWriter
  /** Remembers depths from before blocks were split and joined. */
  readonly reader: IndexReader
  readonly newest = new Map<number, number>()
  readonly replaced: number[] = []
  seqno = 0

  constructor(t: Test, directory = t.testdir()) {
    const options = { directory, mapSizeBytes: 2 ** 30, readerSlotsMax: 10, create: true }
    this.environment = openEnvironment(options)
    this.writer = new IndexWriter(this.environment, (_, { seqno }) => this.replaced.push(seqno))
    this.reader = new IndexReader(this.environment)
  }

  put(numbers: readonly number[]): void {
    const replaced: number[] = []
    this.replaced.length = 0
    this.environment.write(() => {
      for (const number of numbers) {
        const before = this.newest.get(number)
        if (before !== undefined) replaced.push(before)
        const seqno = ++this.seqno
        this.newest.set(number, seqno)
        this.writer.put(recordOf(pool[number]!, seqno), seqno - (seqno % 4))
      }
      this.writer.merge()
    })
    const sorted = (seqnos: number[]) => [...seqnos].sort((one, other) => one - other)
    assert.deepEqual(sorted(this.replaced), sorted(replaced))
  }

  /** Those whose newest version is meant, and some that are not. */
  remove(numbers: readonly number[]): void {
    this.environment.write(() => {
      for (const number of new Set(numbers)) {
        const seqno = this.newest.get(number)
        if (seqno === undefined) continue
        const isStale = number % 7 === 0
        this.writer.remove(recordOf(pool[number]!, isStale ? seqno - 1 : seqno))
        if (!isStale) this.newest.delete(number)
      }
      this.writer.merge()
    })
  }

  check(): void {
    this.environment.refresh()
    for (const [number, key] of pool.entries()) {
      const found = this.reader.find(vbid, key, 0, key.length)
      const seqno = this.newest.get(number)
      assert.equal(found?.seqno, seqno)
      if (seqno !== undefined) assert.equal(found!.block, seqno - (seqno % 4))
    }
    const problems: string[] = []
    const entries = checkIndex(this.environment, (_, text) => problems.push(text))
    assert.deepEqual(problems, [])
    assert.equal(entries.length, this.newest.size)
  }

  /** Lengths of the blocks. */
  blocks(): number[] {
    const start = { vbid: 0, name: 0 }
    return [...this.environment.index.getRange({ start })].map(({ value }) => value.length)
  }
}

const numbers = fc.array(fc.nat(pool.length - 1), { maxLength: 250, size: 'max' })

t.test('whatever is put and removed, the index agrees with a map', async t => {
  const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
  t.comment(`SEED=${seed}`)
  const root = t.testdir()
  let run = 0
  const steps = fc.array(fc.record({ put: numbers, remove: numbers }), { maxLength: 8 })
  const property = fc.asyncProperty(steps, async steps => {
    const scene = new Scene(t, `${root}/${run++}`)
    for (const { put, remove } of steps) {
      scene.put(put)
      scene.check()
      scene.remove(remove)
      scene.check()
    }
    await scene.environment.close()
  })
  await fc.assert(property, { numRuns: 60, seed })
})

t.test('blocks are split when they are full and joined when they are nearly empty', async t => {
  const scene = new Scene(t)
  const all = [...pool.keys()]
  scene.put(all)
  scene.check()
  t.ok(scene.blocks().length > 5, `${scene.blocks().length} blocks`)
  t.ok(scene.blocks().every(length => length <= indexBlockBytesMax))
  scene.put(all)
  scene.check()
  scene.remove(all)
  scene.put([1, 2, 3])
  scene.remove([1, 2, 3])
  scene.check()
  const kept = scene.newest.size
  t.ok(kept > 0 && kept < all.length / 5, 'the stale ones have stayed')
  t.ok(scene.blocks().length <= 5, `${scene.blocks().length} blocks`)
  await scene.environment.close()
})

t.test('an index of which all is removed is gone', async t => {
  const scene = new Scene(t)
  const all = [...pool.keys()].filter(number => number % 7 !== 0)
  scene.put(all)
  scene.remove(all)
  t.same(scene.blocks(), [])
  scene.check()
  await scene.environment.close()
})

t.test('blocks of a depth cover all hashes, each hash once', async () => {
  const property = fc.property(
    fc.nat(2 ** 32 - 1),
    fc.integer({ min: 1, max: 32 }),
    (hash, depth) => {
      const name = blockNameOf(hash, depth)
      assert.ok(name <= hash && hash < blockEndOf(name, depth))
      assert.equal(blockNameOf(name, depth), name)
      const buddy = buddyOf(name, depth)
      const parent = blockNameOf(hash, depth - 1)
      assert.equal(Math.min(name, buddy), parent)
      assert.equal(Math.max(name, buddy), blockEndOf(parent, depth))
    },
  )
  fc.assert(property)
})

t.test('a damaged block neither hangs a search nor leads it out of the block', async () => {
  const scene = new Scene(t)
  scene.put([...Array(30).keys()])
  const whole = scene.environment.index.getBinary({ vbid, name: 0 })!
  const bytesOf = Buffer.from(whole.subarray(0, whole.length))
  const damages = fc.array(fc.tuple(fc.nat(bytesOf.length - 1), fc.nat(255)), { minLength: 1 })
  const property = fc.property(damages, fc.nat(40), (damages, number) => {
    const bytes = Buffer.from(bytesOf)
    for (const [at, byte] of damages) bytes[at] = byte
    const key = pool[number]!
    try {
      const hash = hashOf(key)
      const from = searchStartIn(bytes, bytes.length, hash)
      const at = findInIndexBlock(bytes, from, bytes.length, hash, key, 0, key.length)
      assert.ok(at < bytes.length)
    } catch (error) {
      assert.match(String(error), /a block of the index is damaged/)
    }
  })
  fc.assert(property, { numRuns: 2000 })
  await scene.environment.close()
})
