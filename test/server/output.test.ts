import { Writable } from 'node:stream'
import type { Socket } from 'node:net'
import t from 'tap'
import { silentLog } from '../../src/log.ts'
import {
  latencyPlace,
  latencyPlaces,
  OperationCounters,
} from '../../src/server/operation-counters.ts'
import { TrafficSinceReset } from '../../src/server/traffic-since-reset.ts'
import { AnswerRound } from '../../src/server/answer-round.ts'
import { MemoryBudget } from '../../src/server/memory-budget.ts'
import { OutputSlab, slabBytes } from '../../src/server/output-slab.ts'
import { ResponseQueue } from '../../src/server/response-queue.ts'
import { ResponseWriter } from '../../src/server/response-writer.ts'

const MiB = 2 ** 20

/** A client that takes what it is sent only when told to. */
class ReluctantSocket extends Writable {
  readonly taken: string[] = []
  readonly #pending: (() => void)[] = []

  constructor() {
    super({ highWaterMark: 16 * 1024 })
  }

  override _write(chunk: Buffer, _encoding: string, callback: () => void): void {
    // As the kernel would: what was there when it was written is what the client gets.
    this.#pending.push(() => {
      if (chunk.length < 100) this.taken.push(chunk.toString())
      callback()
    })
  }

  takeOne(): void {
    this.#pending.shift()?.()
  }
}

function budgetOf(connectionBytesMax: number): MemoryBudget {
  const limits = { softBytes: connectionBytesMax * 8, hardBytes: connectionBytesMax * 32 }
  return new MemoryBudget({ connectionBytesMax, ...limits, fault: 'lags', log: silentLog })
}

const counters = new OperationCounters()

function writerOn(socket: Writable, budget: MemoryBudget, onEvict = () => undefined) {
  return new ResponseWriter({
    id: 1,
    socket: socket as unknown as Socket,
    copies: false,
    budget,
    counters,
    round: new AnswerRound(),
    onProgress: () => undefined,
    onEvict,
  })
}

t.test('a slab that the client has not taken is not written to again', async t => {
  const socket = new ReluctantSocket()
  const slab = new OutputSlab()
  const writer = writerOn(socket, budgetOf(MiB))
  const first = slab.buffer
  for (const text of ['one', 'two', 'three']) {
    slab.open(writer)
    const at = slab.reserve(text.length)
    slab.buffer.write(text, at)
    slab.close()
  }
  t.equal(socket.writableLength, 0, 'it waits for the end of the turn')
  slab.flush()
  t.not(slab.buffer, first)
  t.equal(slab.target, undefined)
  while (writer.chargedBytes > 0) {
    socket.takeOne()
    await new Promise(resolve => setImmediate(resolve))
  }
  t.equal(socket.taken.join(''), 'onetwothree')
  t.equal(socket.writableLength, 0)
})

t.test('the batches of a turn are written at its end, each to its connection', async t => {
  const slab = new OutputSlab()
  const delivered: string[] = []
  const target = (name: string) => ({
    takesAtOnce: true,
    deliver(bytes: Buffer) {
      delivered.push(`${name}: ${bytes.toString()}`)
      return true
    },
  })
  const [first, second] = [target('first'), target('second')]
  const batch = (to: typeof first, text: string) => {
    slab.open(to)
    for (const letter of text) slab.buffer.write(letter, slab.reserve(1))
    slab.close()
  }
  batch(first, 'abc')
  batch(second, '')
  batch(second, 'def')
  batch(first, 'g')
  t.same(delivered, [])
  await new Promise(resolve => setImmediate(resolve))
  t.same(delivered, ['first: abc', 'second: def', 'first: g'])
  batch(second, 'h')
  slab.open(first)
  slab.buffer.write('i', slab.reserve(1))
  slab.flush()
  t.same(delivered.slice(3), ['second: h', 'first: i'], 'in the middle of a batch too')
  slab.buffer.write('j', slab.reserve(1))
  slab.close()
  await new Promise(resolve => setImmediate(resolve))
  t.same(delivered.slice(5), ['first: j'])
})

t.test('a thousand clients that take nothing hold no more than the budget says', async t => {
  const outputBytesMax = MiB
  const budget = budgetOf(outputBytesMax)
  const slab = new OutputSlab()
  const before = process.memoryUsage().arrayBuffers
  const writers = Array.from({ length: 1000 }, () => writerOn(new ReluctantSocket(), budget))
  for (let round = 0; round < 100; round++) {
    for (const writer of writers) {
      if (writer.chargedBytes > budget.allowanceBytes) continue
      slab.open(writer)
      slab.reserve(3000)
      slab.reserve(16)
      slab.close()
    }
    slab.flush()
  }
  t.equal(budget.debtors, 1000)
  t.ok(budget.totalBytes < budget.softBytes + MiB, `${budget.totalBytes} bytes are charged`)
  const held = process.memoryUsage().arrayBuffers - before
  t.ok(held < budget.softBytes + 4 * MiB, `${held} bytes are held`)
  for (const writer of writers) writer.release()
  t.equal(budget.totalBytes, 0)
  t.equal(budget.debtors, 0)
})

t.test('past the hard limit the largest debtor goes', t => {
  const budget = budgetOf(1000)
  const evicted: number[] = []
  const debtors = [10_000, 12_000, 9_000].map((bytes, id) => ({
    id,
    chargedBytes: bytes,
    evict() {
      evicted.push(id)
      budget.charge(this, this.chargedBytes, 0)
    },
  }))
  budget.charge(debtors[0]!, 0, 10_000)
  t.equal(budget.allowanceBytes, 0, 'past the soft limit nobody may leave anything unread')
  budget.charge(debtors[1]!, 0, 12_000)
  budget.charge(debtors[2]!, 0, 9_000)
  t.same(evicted, [])
  debtors[2]!.chargedBytes = 11_000
  budget.charge(debtors[2]!, 9_000, 11_000)
  t.same(evicted, [1])
  t.equal(budget.totalBytes, 21_000)
  t.equal(budget.evictions, 1)
  t.end()
})

t.test('answers larger than the slab get a buffer of their own when the client lags', t => {
  const slab = new OutputSlab()
  const delivered: [length: number, owned: boolean][] = []
  slab.open({
    takesAtOnce: false,
    deliver(bytes, owned) {
      delivered.push([bytes.length, owned])
      return true
    },
  })
  t.equal(slab.reserve(100), 0)
  t.equal(slab.reserve(slabBytes), 0, 'what does not fit behind it sends it off')
  t.equal(slab.reserve(slabBytes + 1), 0)
  t.equal(slab.buffer.length, slabBytes + 1)
  t.equal(slab.reserve(24), 0)
  t.equal(slab.buffer.length, slabBytes)
  slab.close()
  slab.flush()
  t.same(delivered, [
    [100, false],
    [slabBytes, false],
    [slabBytes + 1, true],
    [24, false],
  ])
  t.end()
})

t.test('large answers share memory as long as clients take them at once', t => {
  const slab = new OutputSlab()
  const delivered: [length: number, owned: boolean][] = []
  const memory = new Set<Buffer>()
  let isTaken = true
  const answer = (length: number) => {
    slab.open({
      takesAtOnce: true,
      deliver(bytes, owned) {
        delivered.push([bytes.length, owned])
        return isTaken
      },
    })
    slab.reserve(length)
    memory.add(slab.buffer)
    slab.close()
  }
  answer(slabBytes + 1)
  answer(3 * slabBytes)
  t.equal(memory.size, 1)
  isTaken = false
  answer(2 * slabBytes)
  t.equal(memory.size, 1)
  isTaken = true
  answer(2 * slabBytes)
  t.equal(memory.size, 2, 'what one did not take is not written to again')
  answer(8 * slabBytes)
  answer(slabBytes + 2)
  t.equal(memory.size, 3, 'what is too large for it has its own')
  t.same(delivered, [
    [slabBytes + 1, false],
    [3 * slabBytes, false],
    [2 * slabBytes, false],
    [2 * slabBytes, false],
    [8 * slabBytes, true],
    [slabBytes + 2, false],
  ])
  t.equal(slab.buffer.length, slabBytes)
  t.end()
})

t.test(
  'a large answer that a client does not take at once is charged with all that it keeps',
  t => {
    const socket = new ReluctantSocket()
    const budget = budgetOf(MiB)
    const slab = new OutputSlab()
    const writer = writerOn(socket, budget)
    slab.open(writer)
    slab.reserve(2 * slabBytes)
    const kept = slab.buffer
    slab.close()
    t.equal(writer.chargedBytes, kept.length)
    slab.open(writer)
    slab.reserve(2 * slabBytes)
    t.equal(slab.buffer.length, 2 * slabBytes, 'the next has no more than it needs')
    slab.close()
    t.equal(writer.chargedBytes, kept.length + 2 * slabBytes)
    t.end()
  },
)

t.test('a queue of answers gives out what nothing in front of it waits for', t => {
  const queue = new ResponseQueue()
  const sent: string[] = []
  const drain = () => queue.drain(bytes => sent.push(bytes.toString()))
  const [one, two] = [queue.open(), queue.open()]
  queue.append(Buffer.from('after two'))
  const three = queue.open()
  queue.fill(two, Buffer.from('two'))
  t.equal(queue.isReady, false)
  t.equal(queue.bytes, 12)
  drain()
  t.same(sent, [])
  queue.fill(one, undefined)
  drain()
  t.same(sent, ['two', 'after two'])
  t.equal(queue.isEmpty, false)
  queue.fill(three, Buffer.from('three'))
  queue.append(Buffer.from('end'))
  drain()
  t.same(sent, ['two', 'after two', 'three', 'end'])
  t.equal(queue.isEmpty, true)
  t.equal(queue.bytes, 0)
  t.equal(queue.slots, 0)
  t.end()
})

t.test('answers and their durations are counted by opcode', t => {
  const counters = new OperationCounters()
  counters.count(1, 0)
  counters.count(1, 0)
  counters.count(1, 0x86)
  counters.count(1, 0xff01)
  t.equal(counters.answer(1, 0), 2)
  t.equal(counters.answer(1, 0x86), 1)
  t.equal(counters.answer(1, 0xff), 1, 'what does not fit shares the last place')
  t.equal(counters.answersOf(1), 4)
  t.equal(latencyPlace(0.0004), 0)
  t.equal(latencyPlace(0.001), 1)
  t.equal(latencyPlace(0.003), 2)
  t.equal(latencyPlace(1), 10)
  t.equal(latencyPlace(10_000_000), 31)
  counters.time(1, 1, 1)
  counters.time(1, 2, 32)
  t.equal(counters.latencies[latencyPlaces + 10], 1)
  t.equal(counters.latencies[latencyPlaces + 11], 32, 'one stands for many')
  t.equal(counters.latencySumMs[1], 65)
  t.end()
})

t.test('a reset is seen by who looks at what came since, not by the counters', t => {
  const counters = new OperationCounters()
  const traffic = new TrafficSinceReset(counters)
  const count = () => {
    counters.count(1, 0)
    counters.time(1, 1, 1)
    counters.bytesRead += 10
    counters.connectionsAccepted++
  }
  count()
  traffic.reset()
  count()
  count()
  t.equal(traffic.answersOf(1), 2)
  t.equal(traffic.answer(1, 0), 2)
  t.equal(traffic.latenciesOf(1)[10], 2)
  t.equal(traffic.bytesRead, 20)
  t.equal(traffic.connectionsAccepted, 3)
  t.equal(counters.answersOf(1), 3)
  t.equal(counters.bytesRead, 30)
  t.end()
})
