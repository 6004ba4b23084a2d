import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock, type Clock } from '../../src/clock.ts'
import { fillCopy, makeFolder, putCopyInPlace } from '../../src/storage/compaction.ts'
import { dataFileOf } from '../../src/storage/data-file.ts'
import type { SnapshotReference } from '../../src/storage/snapshot.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { until } from '../resume/until.ts'
import { committed, openBuckets, read, remove, set } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { damageLeaves } from '../support/damage-leaves.ts'
import { wholeForm } from '../support/frame-form.ts'
import {
  assertRead,
  copiesIn,
  documents,
  environmentIn,
  fileIn,
  fileLog,
  large,
  sizeIn,
  write,
} from './mostly-free.ts'

const settings = { environments: 1, changeLogBytes: 0 }
function soon(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 1))
}

/** Until a file has been written anew once; a copy that was given up is made again later, by the clock. */
async function untilCompacted(bucket: Bucket, clock?: ManualClock): Promise<void> {
  await until(() => {
    clock?.advance(1000)
    return bucket.statistics().compactions === 1
  }, 'a file has been written anew')
}

function pin(bucket: Bucket, vbid: number, holder = 'client'): Promise<SnapshotReference> {
  return bucket.snapshots.pin(vbid, { holder, reason: 'test', atLeastSeqno: 0 })
}

async function framesIn(bucket: Bucket, reference: SnapshotReference): Promise<number> {
  const { persistedSeqno: toSeqno } = reference
  const scan = reference.scan({ afterSeqno: 0, toSeqno, form: wholeForm })
  for (let frames = 0; ;) {
    const [slab] = await bucket.snapshots.read([scan], 2 ** 16)
    frames += slab!.frames
    if (slab!.done) return frames
  }
}

interface Scene {
  readonly t: Test
  readonly clock?: Clock
  readonly compactBytesMax?: number
}

/** Documents that were large while they were pinned and are small now: most of the file is free then. */
async function makeScene({ t, clock = systemClock, compactBytesMax = 2 ** 30 }: Scene) {
  const directory = t.testdir()
  const { log, lines } = fileLog()
  const options = { settings: { ...settings, compactBytesMax }, clock, log }
  const { buckets, bucket } = await openBuckets(t, directory, options)
  await write(bucket, large)
  const pinned = await pin(bucket, 1)
  await write(bucket, 'small')
  t.ok(sizeIn(directory) > documents * large.length, 'the file is as large as it has been')
  const isSmall = () => sizeIn(directory) < 2 ** 21
  const isCopied = () => copiesIn(directory).length > 0
  return { directory, lines, buckets, bucket, pinned, isSmall, isCopied }
}

/** Files of the store that this process has open, or mapped, although they are gone. */
function lingering(directory: string): string[] {
  const opened = readdirSync('/proc/self/fd').map(number => {
    try {
      return readlinkSync(`/proc/self/fd/${number}`)
    } catch {
      return ''
    }
  })
  const mapped = readFileSync('/proc/self/maps', 'utf8').split('\n')
  return [...opened, ...mapped].filter(
    path => path.includes(directory) && path.endsWith('(deleted)'),
  )
}

t.test('a file of which most is free gets small when its last snapshot is let go', async t => {
  const { directory, bucket, buckets, pinned, isSmall, lines, isCopied } = await makeScene({ t })
  t.notOk(isCopied())
  pinned.release()
  await until(() => lines.length > 0, 'the file is small')
  t.equal(bucket.statistics().compactions, 1)
  t.ok(isSmall(), `${sizeIn(directory)} bytes`)
  t.same(lines, ['a file that was mostly free is as small as it can be'])
  const { environments } = bucket.statistics()
  t.equal(environments[0]!.allocatedBytes, sizeIn(directory))
  assertRead(t, bucket, 'small')
  const again = await pin(bucket, 1)
  t.equal(await framesIn(bucket, again), documents / 16)
  again.release()
  await write(bucket, 'written to the new file')
  assertRead(t, bucket, 'written to the new file')
  await until(() => !isCopied(), 'the copy is gone')
  if (process.platform === 'linux') {
    await until(() => lingering(directory).length === 0, 'nobody has the old file')
  }
  await buckets.close()
  t.same(await checkStore(directory), [])
  const after = await openBuckets(t, directory, { settings })
  assertRead(t, after.bucket, 'written to the new file')
})

t.test('what is written, removed and read meanwhile is what it would be', async t => {
  const { directory, bucket, buckets, pinned, isSmall } = await makeScene({ t })
  pinned.release()
  const expected = new Map<string, string>()
  let turn = 0
  for (; bucket.statistics().compactions === 0 && turn < 100_000; turn++) {
    const key = `beside-${turn % 500}`
    const vbucket = bucket.vbucket(turn % 16)!
    const name = `${vbucket.id} ${key}`
    if (turn % 7 === 0 && expected.has(name)) {
      remove(bucket, vbucket, key)
      expected.delete(name)
    } else {
      set(bucket, vbucket, key, `${turn}`)
      expected.set(name, `${turn}`)
    }
    if (turn % 10 === 0) assertRead(t, bucket, 'small')
    await soon()
  }
  t.ok(isSmall(), `after ${turn} turns: ${sizeIn(directory)} bytes`)
  await committed(bucket)
  const assertAll = (of: Bucket) => {
    for (const [name, value] of expected) {
      const [vbid, key] = name.split(' ') as [string, string]
      if (read(of, of.vbucket(Number(vbid))!, key) !== value) t.fail(name)
    }
    assertRead(t, of, 'small')
  }
  assertAll(bucket)
  await buckets.close()
  t.same(await checkStore(directory), [])
  assertAll((await openBuckets(t, directory, { settings })).bucket)
})

t.test('whoever waits for a commit does not wait for the copy, which is made later', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isSmall, isCopied, lines } = await makeScene({ t, clock })
  pinned.release()
  clock.advance(1000)
  await until(isCopied, 'the copy is being made')
  const vbucket = bucket.vbucket(3)!
  set(bucket, vbucket, 'awaited', 'value')
  await committed(bucket)
  t.equal(vbucket.persistedSeqno, vbucket.highSeqno)
  await until(() => !isCopied(), 'the copy is gone')
  t.notOk(isSmall())
  t.same(lines, [])
  await untilCompacted(bucket, clock)
  t.ok(isSmall())
  assertRead(t, bucket, 'small')
  t.equal(read(bucket, vbucket, 'awaited'), 'value')
})

t.test('who changes a vbucket does not wait for the copy', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isSmall, isCopied } = await makeScene({ t, clock })
  pinned.release()
  clock.advance(1000)
  await until(isCopied, 'the copy is being made')
  await bucket.deleteVbucket(5)
  await until(() => !isCopied(), 'the copy is gone')
  t.notOk(isSmall())
})

t.test('who waited before it began does not wait for the copy', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isSmall, isCopied } = await makeScene({ t, clock })
  const vbucket = bucket.vbucket(3)!
  pinned.release()
  // With a commit under way that takes a while, one more is waited for.
  for (let index = 0; index < 8; index++) set(bucket, vbucket, `large-${index}`, large)
  await new Promise(resolve => setImmediate(resolve))
  set(bucket, vbucket, 'second', 'value')
  const waiting = committed(bucket)
  clock.advance(1000)
  await waiting
  t.notOk(isSmall())
  await untilCompacted(bucket, clock)
  await until(() => !isCopied(), 'the copy is gone')
  t.equal(read(bucket, vbucket, 'second'), 'value')
})

t.test('while a snapshot needs the file nothing is copied', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isCopied, isSmall } = await makeScene({ t, clock })
  for (let hour = 0; hour < 3; hour++) {
    // The purger goes round, and looks at files.
    clock.advance(3_600_000)
    for (let turn = 0; turn < 30; turn++) {
      if (isCopied()) t.fail('a copy is being made')
      await soon()
    }
  }
  t.notOk(isSmall())
  pinned.release()
  await untilCompacted(bucket, clock)
})

t.test('what is deleted and purged leaves a small file', async t => {
  const clock = new ManualClock()
  const directory = t.testdir()
  const purging = { ...settings, purgeAgeSeconds: 60 }
  const { bucket } = await openBuckets(t, directory, { settings: purging, clock })
  await write(bucket, large)
  for (let index = 0; index < documents; index++) {
    remove(bucket, bucket.vbucket(index % 16)!, `document-${index}`)
  }
  await committed(bucket)
  t.ok(sizeIn(directory) > documents * large.length)
  clock.advance(3_600_000)
  await untilCompacted(bucket)
  t.equal(bucket.statistics().purged, documents - 16, 'the newest change of a vbucket stays')
  t.ok(sizeIn(directory) < 2 ** 21)
})

t.test(
  'a snapshot that is pinned meanwhile is read to its end, and the file is small after',
  async t => {
    const clock = new ManualClock()
    const { directory, bucket, pinned, isSmall, isCopied } = await makeScene({ t, clock })
    pinned.release()
    clock.advance(1000)
    await until(isCopied, 'the copy is being made')
    const late = await pin(bucket, 2, 'another')
    await until(() => !isCopied(), 'the copy is gone')
    t.notOk(isSmall(), `${sizeIn(directory)} bytes`)
    t.equal(await framesIn(bucket, late), documents / 16)
    late.release()
    await untilCompacted(bucket, clock)
    t.ok(isSmall())
  },
)

t.test('a bucket that is closed meanwhile does not wait for the copy', async t => {
  const { directory, buckets, pinned, isSmall, isCopied } = await makeScene({ t })
  pinned.release()
  await until(isCopied, 'the copy is being made')
  await buckets.close()
  t.notOk(isCopied())
  t.notOk(isSmall())
  t.same(await checkStore(directory), [])
  const { bucket } = await openBuckets(t, directory, { settings })
  t.ok(isSmall(), 'the start does it')
  assertRead(t, bucket, 'small')
})

t.test('a file with more in use than the limit stays as it is', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isCopied, isSmall } = await makeScene({ t, clock, compactBytesMax: 0 })
  pinned.release()
  clock.advance(1000)
  t.equal(bucket.snapshots.pinnedIn(0), 0)
  for (let turn = 0; turn < 100; turn++) {
    if (isCopied()) t.fail('a copy is being made')
    await soon()
  }
  t.notOk(isSmall())
})

t.test(
  'a file with a page that LMDB cannot read stays, and what can be read is served',
  async t => {
    const { directory, bucket, pinned, lines, isSmall, isCopied } = await makeScene({ t })
    t.ok(damageLeaves(fileIn(directory), '31 small') > 0)
    pinned.release()
    const failed = ['a file that is mostly free could not be written anew']
    await until(() => lines.length > 0, 'it has been tried')
    t.same(lines, failed)
    await until(() => !isCopied(), 'the copy is gone')
    t.notOk(isSmall())
    set(bucket, bucket.vbucket(3)!, 'after', 'value')
    await committed(bucket)
    t.equal(read(bucket, bucket.vbucket(3)!, 'after'), 'value')
    const again = await pin(bucket, 1)
    again.release()
    await until(() => bucket.snapshots.pinnedIn(0) === 0, 'nothing is pinned')
    await soon()
    t.notOk(isCopied(), 'once is enough')
  },
)

const linuxOnly = { skip: process.platform !== 'linux' && 'limits are set as Linux does' }

t.test('a process out of files goes on in the one that it has', linuxOnly, async t => {
  const clock = new ManualClock()
  const { directory, bucket, buckets, pinned, lines, isSmall, isCopied } = await makeScene({
    t,
    clock,
  })
  pinned.release()
  clock.advance(1000)
  await until(isCopied, 'the copy is being made')
  // By another process, as this one cannot start any while it lasts.
  const limit = `--pid ${process.pid} --nofile`
  const isCopying = "grep -qsa '[c]ompaction-process' /proc/[0-9]*/cmdline"
  const script = [
    `until ${isCopying}; do sleep 0.01; done`,
    `prlimit ${limit}=3:`,
    `while ${isCopying}; do sleep 0.05; done`,
    'sleep 2',
    `prlimit ${limit}=$(ulimit -n):`,
  ].join('; ')
  await once(spawn('sh', ['-c', script], { stdio: 'ignore' }), 'exit')
  await until(() => !isCopied(), 'the copy is gone')
  t.notOk(isSmall())
  t.same(lines, [])
  await write(bucket, 'after it')
  assertRead(t, bucket, 'after it')
  const again = await pin(bucket, 1)
  t.equal(await framesIn(bucket, again), documents / 16)
  again.release()
  await untilCompacted(bucket, clock)
  assertRead(t, bucket, 'after it')
  await until(() => lingering(directory).length === 0, 'nobody has the old file')
  await buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('of several files only the one that is mostly free is written anew', async t => {
  const directory = t.testdir()
  const several = { ...settings, environments: 3 }
  const { buckets, bucket } = await openBuckets(t, directory, { settings: several })
  const fileOf = (index: number) =>
    dataFileOf(join(directory, 'buckets', 'default', `environment-${index}`))
  const sizes = () => [0, 1, 2].map(index => statSync(fileOf(index)).size)
  const vbucket = bucket.vbucket(4)!
  // More than goes into one transaction of the copy stays, and twice as much goes.
  const kept = 40
  for (let index = 0; index < 3 * kept; index++) {
    set(bucket, vbucket, `key-${index}`, `${index} ${large}`)
    if (index % 16 === 0) await committed(bucket)
  }
  for (const vbid of [0, 2]) set(bucket, bucket.vbucket(vbid)!, 'other', `of ${vbid}`)
  await committed(bucket)
  const pinned = await pin(bucket, 4)
  for (let index = kept; index < 3 * kept; index++) set(bucket, vbucket, `key-${index}`, 'small')
  await committed(bucket)
  const before = sizes()
  pinned.release()
  await untilCompacted(bucket)
  const after = sizes()
  t.ok(after[1]! < 1.2 * kept * large.length, `${after[1]} of ${before[1]} bytes`)
  t.same([after[0], after[2]], [before[0], before[2]])
  const check = (of: Bucket) => {
    for (let index = 0; index < 3 * kept; index++) {
      const expected = index < kept ? `${index} ${large}` : 'small'
      if (read(of, of.vbucket(4)!, `key-${index}`) !== expected) t.fail(`${index}`)
    }
    for (const vbid of [0, 2]) t.equal(read(of, of.vbucket(vbid)!, 'other'), `of ${vbid}`)
  }
  check(bucket)
  set(bucket, vbucket, 'new', 'value')
  set(bucket, bucket.vbucket(3)!, 'new', 'value')
  await committed(bucket)
  const again = await pin(bucket, 4, 'another')
  t.equal(
    await framesIn(bucket, again),
    3 * kept + 1,
    'the new file is streamed, with what came after',
  )
  again.release()
  await buckets.close()
  t.same(await checkStore(directory), [])
  check((await openBuckets(t, directory, { settings: several })).bucket)
})

t.test('a crash between any two steps leaves a file that is whole', async t => {
  const { directory, buckets, pinned, isSmall } = await makeScene({ t, compactBytesMax: 0 })
  pinned.release()
  await buckets.close()
  const environment = environmentIn(directory)
  const place = { mapSizeBytes: 2 ** 30 }
  const copy = makeFolder(environment)
  const reopen = async () => {
    const options = { settings: { ...settings, compactBytesMax: 0 } }
    const { bucket, buckets: opened } = await openBuckets(t, directory, options)
    assertRead(t, bucket, 'small')
    t.same(copiesIn(directory), [])
    await opened.close()
    t.same(await checkStore(directory), [])
  }
  await reopen()
  const next = makeFolder(environment)
  await fillCopy(environment, next, place)
  t.notOk(isSmall())
  await reopen()
  const last = makeFolder(environment)
  await fillCopy(environment, last, place)
  putCopyInPlace(environment, last)
  t.ok(isSmall())
  await reopen()
  t.not(copy, next)
})
