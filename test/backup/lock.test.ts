import { hostname } from 'node:os'
import t from 'tap'
import { encodeDocument } from '../../src/backup/archive/documents.ts'
import type { BackupError } from '../../src/backup/errors.ts'
import { readLock, RepositoryLock } from '../../src/backup/lock.ts'
import { MemoryStore } from './memory-store.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

function scene() {
  const store = new MemoryStore()
  const clock = new ManualClock()
  const lost: BackupError[] = []
  const acquire = (timeoutMs = 0) =>
    RepositoryLock.acquire({
      store,
      repository: 'r',
      work: 'backup',
      clock,
      timeoutMs,
      signal: new AbortController().signal,
      onLost: error => lost.push(error),
    })
  /** Lets what waits for the clock and for the store go on, until `condition` holds. */
  const moveUntil = async (stepMs: number, condition: () => boolean | Promise<boolean>) => {
    while (!(await condition())) {
      clock.advance(stepMs)
      await new Promise(resolve => setImmediate(resolve))
    }
  }
  return { store, clock, lost, acquire, moveUntil }
}

/** Of somebody on another machine, whose heartbeat was so long ago. */
function lockOf(clock: ManualClock, ageMs: number, host = 'elsewhere') {
  const time = new Date(clock.nowMs() - ageMs).toISOString()
  return encodeDocument({
    format: 'holdfast-backup-lock',
    version: 1,
    id: '11111111-1111-4111-8111-111111111111',
    work: 'backup',
    host,
    boot: 'another boot',
    pid: 4711,
    since: time,
    heartbeat: time,
  })
}

t.test('one whose heartbeat goes on is respected, and is told of', async t => {
  const { store, clock, acquire } = scene()
  await store.put('r/lock.json', lockOf(clock, 299_000))
  const message = /locked: backup, process 4711 on elsewhere, since 20/
  await t.rejects(acquire(), { code: 'locked', message })
})

t.test('one whose heartbeat has stopped for five minutes is taken over', async t => {
  const { store, clock, acquire, moveUntil } = scene()
  await store.put('r/lock.json', lockOf(clock, 301_000))
  let lock: RepositoryLock | undefined
  void acquire().then(acquired => (lock = acquired))
  await moveUntil(50, () => lock !== undefined)
  await lock!.verify()
  await lock!.release()
  t.equal(await readLock(store, 'r'), undefined)
})

t.test('of this machine one that was started again is known at once', async t => {
  const { store, clock, acquire, moveUntil } = scene()
  await store.put('r/lock.json', lockOf(clock, 0, hostname()))
  let lock: RepositoryLock | undefined
  void acquire().then(acquired => (lock = acquired))
  await moveUntil(50, () => lock !== undefined)
  await lock!.verify()
  await lock!.release()
  t.equal(await readLock(store, 'r'), undefined)
})

t.test('a heartbeat keeps it, and finds out when it was taken away', async t => {
  const { store, clock, lost, acquire, moveUntil } = scene()
  const lock = await acquire()
  const begun = (await readLock(store, 'r'))!.heartbeat
  await moveUntil(1000, async () => (await readLock(store, 'r'))!.heartbeat > begun)
  t.ok((await readLock(store, 'r'))!.heartbeat > begun)
  await store.put('r/lock.json', lockOf(clock, 0))
  await moveUntil(1000, () => lost.length > 0)
  t.match(lost, [{ code: 'locked', message: /taken away/ }])
  await t.rejects(lock.verify(), {
    code: 'locked',
    message: /by backup, process 4711 on elsewhere/,
  })
  await t.rejects(lock.release(), { code: 'locked' })
  t.match(await readLock(store, 'r'), { host: 'elsewhere' }, 'and what is not ours is left there')
})
