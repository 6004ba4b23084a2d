/** The parts that watch one link: flow control, no-ops, receipts, turns at the disk. */
import t from 'tap'
import { FlowControl } from '../../src/dcp/flow-control.ts'
import { NoopTimer } from '../../src/dcp/noop.ts'
import { Outbox, cutFrames } from '../../src/dcp/outbox.ts'
import { Receipts } from '../../src/dcp/receipts.ts'
import { ReadSlots } from '../../src/dcp/read-slots.ts'
import { ScanTurns, type ScanTurnsOptions, type TurnTaker } from '../../src/dcp/scan-turns.ts'
import type { Scan } from '../../src/storage/pin.ts'
import type { ScanSlab } from '../../src/storage/snapshot.ts'
import { encodeRequest } from '../../protocol/requests.ts'

t.test('without a window there is always room', async t => {
  const flow = new FlowControl()
  flow.sent(10_000_000)
  flow.acknowledge(5)
  t.equal(flow.roomBytes, Infinity)
  t.equal(flow.unackedBytes, 0)
  t.equal(flow.receivedPosition, 0, 'nothing proves that anything arrived')
})

t.test('one message may overshoot the window, acknowledgements open it again', async t => {
  const flow = new FlowControl()
  flow.open(100)
  t.equal(flow.roomBytes, 100)
  flow.sent(99)
  t.equal(flow.roomBytes, 1)
  flow.sent(5000)
  t.equal(flow.roomBytes, 0)
  flow.acknowledge(99)
  t.equal(flow.roomBytes, 0)
  flow.acknowledge(4901)
  t.equal(flow.roomBytes, 1)
  t.equal(flow.receivedPosition, 5000)
})

t.test('a client cannot acknowledge more than was sent', async t => {
  const flow = new FlowControl()
  flow.open(100)
  flow.sent(50)
  flow.acknowledge(4000)
  t.equal(flow.unackedBytes, 0)
  flow.sent(10)
  t.equal(flow.unackedBytes, 10)
})

t.test('a window that opens late counts from then on', async t => {
  const flow = new FlowControl()
  flow.sent(1000)
  flow.open(100)
  t.equal(flow.roomBytes, 100)
  t.equal(flow.receivedPosition, 0)
  flow.sent(10)
  flow.acknowledge(1)
  t.equal(flow.receivedPosition, 1001, 'what came before has arrived, too')
  flow.open(500)
  t.equal(flow.unackedBytes, 9, 'another size changes nothing else')
  flow.open(0)
  t.equal(flow.roomBytes, Infinity)
})

t.test('a no-op goes out after an interval with streams, and only one at a time', async t => {
  const noop = new NoopTimer(1000)
  t.equal(noop.due(0, true), 'none', 'not asked for')
  noop.enabled = true
  t.equal(noop.due(5000, false), 'none', 'no stream')
  t.equal(noop.due(6000, true), 'none', 'the interval begins with the first stream')
  t.equal(noop.due(6999, true), 'none')
  t.equal(noop.due(7000, true), 'send')
  const opaque = noop.sent(7000, 123)
  t.equal(noop.due(7500, true), 'none')
  t.notOk(noop.answered(opaque + 1, 7600), 'another opaque is no answer')
  t.equal(noop.answeredPosition, 0)
  t.ok(noop.answered(opaque, 7700))
  t.equal(noop.answeredPosition, 123)
  t.notOk(noop.answered(opaque, 7800), 'once is enough')
  t.equal(noop.due(7999, true), 'none')
  t.equal(noop.due(8000, true), 'send')
})

t.test('a peer is dead after two silent intervals, not while it says anything', async t => {
  const noop = new NoopTimer(1000)
  noop.enabled = true
  noop.due(0, true)
  t.equal(noop.due(1000, true), 'send')
  noop.sent(1000, 0)
  t.equal(noop.due(1999, true), 'none')
  noop.heard(1500)
  t.equal(noop.due(2000, true), 'none')
  t.equal(noop.due(2499, true), 'none')
  t.equal(noop.due(2500, true), 'dead')
})

t.test('without flow control old bytes count as received, if answered for', async t => {
  const receipts = new Receipts(6400)
  const proven = (nowMs: number, answered: number) =>
    receipts.position(nowMs, { window: 0, acked: 0, answered })
  receipts.sample(0, 100)
  receipts.sample(50, 150)
  receipts.sample(100, 200)
  t.equal(proven(6399, Infinity), 0)
  t.equal(proven(6400, Infinity), 100, 'a grace after the kernel took them')
  t.equal(proven(6499, Infinity), 100, 'samples in between were not needed')
  t.equal(proven(6500, 150), 150, 'only what an answered no-op lies behind')
  t.equal(proven(6500, 0), 0)
})

t.test('with flow control only what is acknowledged counts, however old', async t => {
  const receipts = new Receipts(6400)
  receipts.sample(0, 100)
  t.equal(receipts.position(0, { window: 500, acked: 40, answered: Infinity }), 40)
  t.equal(receipts.position(1e9, { window: 500, acked: 40, answered: Infinity }), 40)
})

t.test('samples of what the kernel took stay few', async t => {
  const receipts = new Receipts(6400)
  const proofs = { window: 0, acked: 0, answered: Infinity }
  for (let ms = 0; ms < 6400; ms++) receipts.sample(ms, ms + 1)
  t.equal(receipts.position(6400, proofs), 1)
  t.equal(receipts.position(6400 + 3200, proofs), 3201)
})

class Taker implements TurnTaker {
  readonly scan: Scan
  slabs = 0
  error: unknown

  constructor(vbid: number) {
    this.scan = { vbid } as Scan
  }
  arrived(): void {
    this.slabs++
  }
  readFailed(error: unknown): void {
    this.error = error
  }
}

const takersOf = (count: number) => Array.from({ length: count }, (_, vbid) => new Taker(vbid))

interface Read {
  vbids: number[]
  resolve: (slabs: ScanSlab[]) => void
  reject: (error: unknown) => void
}

/** Turns at a disk that answers what the test says; `reads` are those under way. */
function turnsOf(options: Partial<ScanTurnsOptions> = {}) {
  const reads: Read[] = []
  let freed = 0
  const turns = new ScanTurns({
    reads: new ReadSlots(100),
    hasRoomFor: () => true,
    read: scans =>
      new Promise((resolve, reject) => {
        reads.push({ vbids: scans.map(({ vbid }) => vbid), resolve, reject })
      }),
    ...options,
  })
  const part = (done: boolean): ScanSlab => ({
    bytes: Buffer.alloc(1),
    frames: 1,
    lastSeqno: 1,
    frameSeqno: 1,
    done,
    free: () => void freed++,
  })
  const settle = () => new Promise(resolve => setImmediate(resolve))
  return {
    turns,
    asked: () => reads.map(({ vbids }) => vbids),
    freed: () => freed,
    /** The oldest read brings so many parts, of vbuckets read whole or not. */
    answer: async (parts: boolean[]) => {
      reads.shift()!.resolve(parts.map(part))
      await settle()
    },
    fail: async (error: Error) => {
      reads.shift()!.reject(error)
      await settle()
    },
  }
}

t.test('nothing is read ahead for a client that has no room for it', async t => {
  let room = 1
  const { turns, asked, answer } = turnsOf({ hasRoomFor: slabs => slabs <= room })
  const takers = takersOf(3)
  for (const taker of takers) turns.begin(taker)
  t.same(asked(), [[0]])
  room = 0
  await answer([false])
  turns.again(takers[0]!)
  t.same(asked(), [])
  room = 2
  turns.resume()
  t.same(asked(), [[1, 2, 0]])
})

t.test('connections share the reads under way; what has arrived is no longer one', async t => {
  const reads = new ReadSlots(2)
  const [one, other] = [turnsOf({ reads }), turnsOf({ reads })]
  for (const { turns } of [one, other]) for (const taker of takersOf(2)) turns.begin(taker)
  t.same([one.asked(), other.asked()], [[[0], [1]], []])
  await one.answer([false])
  t.same(other.asked(), [[0, 1]], 'although nothing of it has been sent')
})

t.test('backfills read in turn, a few slabs at a time', async t => {
  const { turns, asked, answer } = turnsOf()
  const takers = takersOf(6)
  for (const taker of takers) turns.begin(taker)
  t.same(asked(), [[0], [1], [2], [3]])
  await answer([false])
  t.same(asked(), [[1], [2], [3]], 'the slab takes memory until it has been sent')
  turns.again(takers[0]!)
  t.same(asked(), [[1], [2], [3], [4, 5, 0]], 'behind those who waited')
  turns.end(takers[2]!)
  turns.end(takers[2]!)
  turns.again(takers[2]!)
  t.same(asked().length, 4, 'one that has ended takes no more turns')
  await answer([false])
  turns.again(takers[1]!)
  t.same(asked(), [[2], [3], [4, 5, 0], [1]])
})

t.test('small vbuckets share a slab, as many as it has room for', async t => {
  let room = 0
  const { turns, asked, answer, freed } = turnsOf({ hasRoomFor: slabs => slabs <= room })
  const takers = takersOf(40)
  for (const taker of takers) turns.begin(taker)
  room = 1
  turns.resume()
  const vbids = takers.map(({ scan }) => scan.vbid)
  t.same(asked(), [vbids.slice(0, 16)])
  turns.end(takers[1]!)
  await answer([true, true, false])
  t.same(
    takers.slice(0, 4).map(({ slabs }) => slabs),
    [1, 0, 1, 0],
  )
  t.equal(freed(), 1, 'the part of one that has ended meanwhile')
  t.same(asked(), [], 'what was not read waits until the slab has been sent')
  turns.end(takers[0]!)
  t.same(asked(), [])
  turns.again(takers[2]!)
  t.same(asked(), [[16, 17, 18]], 'no more than there was room for')
  await answer([true, true, true])
  for (const vbid of [16, 17, 18]) turns.end(takers[vbid]!)
  t.same(asked(), [[19, 20, 21, 22, 23, 24]], 'and more again when they are small')
  await answer([false])
  turns.again(takers[19]!)
  t.same(asked(), [[25]])
})

t.test('a read that fails is the fault of the first; the others are asked for again', async t => {
  const { turns, asked, fail } = turnsOf({ reads: new ReadSlots(1) })
  const takers = takersOf(4)
  for (const taker of takers) turns.begin(taker)
  await fail(new Error('one'))
  t.match(takers[0]!.error, { message: 'one' })
  t.same(asked(), [[1]], 'alone')
  turns.end(takers[0]!)
  await fail(new Error('other'))
  t.match(takers[1]!.error, { message: 'other' })
  t.equal(takers[2]!.error, undefined)
})

t.test('sequential backfills read one after the other', async t => {
  const { turns, asked, answer } = turnsOf()
  turns.order = 'sequential'
  const takers = takersOf(3)
  for (const taker of takers) turns.begin(taker)
  t.same(asked(), [[0]])
  await answer([false])
  turns.again(takers[0]!)
  t.same(asked(), [[0, 1, 2]], 'the next ones take what room it leaves')
  await answer([false])
  turns.again(takers[0]!)
  t.same(asked(), [[0]])
  await answer([true])
  turns.end(takers[0]!)
  t.same(asked(), [[1, 2]])
})

t.test('whole frames are cut so that one reaches beyond the room at most', async t => {
  const frame = (bytes: number) => encodeRequest({ opcode: 0x57, value: Buffer.alloc(bytes - 24) })
  const frames = Buffer.concat([frame(30), frame(40), frame(50)])
  t.same(cutFrames(frames, 0, 1), { end: 30, last: 0 })
  t.same(cutFrames(frames, 0, 30), { end: 30, last: 0 })
  t.same(cutFrames(frames, 0, 31), { end: 70, last: 30 })
  t.same(cutFrames(frames, 30, 1000), { end: 120, last: 70 })
})

t.test('small frames leave in one piece, and large ones get room of their own', async t => {
  const written: Buffer[] = []
  const output = {
    write: (bytes: Uint8Array) => void written.push(Buffer.from(bytes)),
    queuedBytes: 0,
    onDrain: undefined,
    close: () => undefined,
  }
  const flow = new FlowControl()
  const outbox = new Outbox(output, flow)
  for (const text of ['one', 'two', 'three']) {
    const offset = outbox.reserve(text.length)
    outbox.slab.write(text, offset)
    outbox.commit(text.length)
  }
  t.equal(outbox.queuedBytes, 11)
  outbox.flush()
  outbox.flush()
  t.same(written.map(String), ['onetwothree'])
  t.equal(flow.sentBytes, 11)
  const offset = outbox.reserve(300_000)
  outbox.slab.fill('x', offset, offset + 300_000)
  outbox.commit(300_000)
  outbox.pass(Buffer.from('tail'))
  t.same(
    written.map(({ length }) => length),
    [11, 300_000, 4],
    'in the order of encoding',
  )
})
