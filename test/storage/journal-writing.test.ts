/** The journal by itself: what it writes together, what it refuses, and how it comes back. */
import { mkdirSync, readFileSync, rmdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { silentLog, type Log } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { Journal } from '../../src/storage/journal.ts'
import { journalFileBytes, readBlocks } from '../../src/storage/journal-format.ts'
import { SyncPace } from '../../src/storage/sync-pace.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

const MiB = 2 ** 20

/** A log of which `end` bytes are appended and `committed` are in LMDB. */
function scene(t: Test, directory: string) {
  const log = { end: 0, committed: 0, isRefusing: false, isAwaited: false }
  const told = { durable: 0, refused: 0, filling: 0 }
  let answered: (() => void)[] = []
  const answer = () => {
    const waiting = answered
    answered = []
    for (const done of waiting) done()
  }
  const clock = new ManualClock()
  let hasFailed = () => {}
  const failed = new Promise<void>(resolve => (hasFailed = resolve))
  const warning = Object.assign(Object.create(silentLog) as Log, { warn: () => hasFailed() })
  const journal = new Journal({
    directory,
    clock,
    random: systemRandom,
    log: warning,
    stretchFrom: position => {
      if (log.isRefusing) return undefined
      const entries = log.end > position ? [Buffer.alloc(log.end - position, 7)] : []
      return { entries, upTo: log.end, vbids: [3], vbuuids: [5n] }
    },
    committed: () => log.committed,
    isAwaited: () => log.isAwaited,
    onDurable: position => {
      told.durable = position
      answer()
    },
    onRefused: () => {
      told.refused++
      queueMicrotask(answer)
    },
    onFilling: () => told.filling++,
  })
  t.teardown(() => journal.close(false))
  /** Appends so much, and resolves when the journal has said what becomes of it. */
  const append = async (bytes: number) => {
    log.end += bytes
    const said = new Promise<void>(resolve => answered.push(resolve))
    journal.request()
    await said
  }
  const ready = async () => {
    await append(1)
    while (!journal.isReady) await new Promise(resolve => setTimeout(resolve, 5))
    log.committed = log.end
    told.refused = 0
  }
  return { log, told, clock, journal, append, ready, failed }
}

function blocksIn(directory: string, file: string): number[] {
  return [...readBlocks(readFileSync(join(directory, file)))].map(({ entries }) => entries.length)
}

t.test('what is asked for during a write goes with the next one', async t => {
  const directory = t.testdir()
  const { told, append, ready } = scene(t, directory)
  await ready()
  const first = append(10)
  await new Promise(resolve => setImmediate(resolve))
  const others = [append(20), append(30), append(40)]
  await Promise.all([first, ...others])
  while (told.durable < 101) await new Promise(resolve => setImmediate(resolve))
  t.same(blocksIn(directory, 'journal-0'), [10, 90])
  t.equal(told.refused, 0)
})

t.test(
  'what clients wait for is on disk, all of it, when the turn ends in which it came',
  async t => {
    const directory = t.testdir()
    const { log, told, append, ready } = scene(t, directory)
    await ready()
    log.isAwaited = true
    const all = [append(10), append(20), append(30)]
    await new Promise(resolve => setImmediate(resolve))
    t.equal(told.durable, 61)
    t.same(blocksIn(directory, 'journal-0'), [60])
    await Promise.all(all)
  },
)

t.test('the main thread leaves a slow disk to others for a while', t => {
  const pace = new SyncPace()
  /** How many writes go to others before the main thread tries again. */
  const aside = () => {
    let writes = 0
    while (!pace.isQuick()) writes++
    return writes
  }
  for (let i = 0; i < 100; i++) {
    pace.took(i % 20 === 0 ? 4 : 0.2)
    t.equal(aside(), 0, 'one that took longer is not a slow disk')
  }
  for (let i = 0; i < 10 && aside() === 0; i++) pace.took(4)
  pace.took(4)
  t.equal(aside(), 20, 'a slow disk gets a single try from then on')
  pace.took(4)
  t.equal(aside(), 20)
  for (let i = 0; i < 5; i++) pace.took(0.2)
  pace.took(4)
  t.equal(aside(), 0, 'it has become quick again')
  t.end()
})

t.test('a file is used again only when all that is in it is committed', async t => {
  const directory = t.testdir()
  const { log, told, append, ready } = scene(t, directory)
  await ready()
  const much = (13 / 16) * journalFileBytes
  await append(much)
  t.equal(told.filling, 1, 'a commit is asked for in time')
  await append(much)
  t.same(blocksIn(directory, 'journal-1'), [much])
  t.equal(told.durable, log.end)
  await append(much)
  t.equal(told.refused, 1, 'neither has room')
  t.equal(told.durable, log.end - much)
  log.committed = log.end - 2 * much
  await append(1)
  t.same(blocksIn(directory, 'journal-0'), [much + 1], 'with what was refused before')
  t.equal(told.durable, log.end)
  log.committed = log.end
  await append(journalFileBytes + MiB)
  t.equal(told.refused, 2, 'more than a file takes')
})

t.test('what only a commit may acknowledge is refused', async t => {
  const { log, told, append, ready } = scene(t, t.testdir())
  await ready()
  log.isRefusing = true
  await append(10)
  t.equal(told.refused, 1)
  log.isRefusing = false
  await append(10)
  t.equal(told.refused, 1)
  t.equal(told.durable, log.end)
})

t.test('files that could not be made are made after a while', async t => {
  const directory = t.testdir()
  mkdirSync(join(directory, 'journal-1'))
  const { told, clock, journal, append, failed } = scene(t, directory)
  await append(10)
  await failed
  for (let i = 0; i < 3; i++) await append(10)
  t.equal(told.refused, 4)
  t.equal(journal.isReady, false)
  t.equal(readFileSync(join(directory, 'journal-0')).length, 0, 'what was made takes no room')
  rmdirSync(join(directory, 'journal-1'))
  clock.advance(60_000)
  await append(10)
  while (!journal.isReady) await new Promise(resolve => setTimeout(resolve, 5))
  await append(10)
  t.equal(told.durable, 60)
})
