import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, readlinkSync, statSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { systemClock, type Clock } from '../../src/clock.ts'
import { silentLog, type Log } from '../../src/log.ts'
import { dataFileOf } from '../../src/storage/data-file.ts'
import type { SnapshotReference } from '../../src/storage/snapshot.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { committed, openBuckets, read, remove, set } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { damageLeaves } from '../support/damage-leaves.ts'
import { wholeForm } from '../support/frame-form.ts'

const settings = { environments: 1, changeLogBytes: 0 }
const environmentIn = (directory: string) => join(directory, 'buckets', 'default', 'environment-0')
const fileIn = (directory: string) => dataFileOf(environmentIn(directory))
const sizeIn = (directory: string) => statSync(fileIn(directory)).size
const copyIn = (directory: string) => join(environmentIn(directory), 'compacted')

const documents = 32
const large = 'x'.repeat(2 ** 20)
const patienceMs = 20_000

async function until(t: Test, what: string, isSo: () => boolean): Promise<void> {
  for (const begun = Date.now(); !isSo(); await soon()) {
    if (Date.now() - begun < patienceMs) continue
    t.fail(`in vain: ${what}`)
    return
  }
}

function soon(): Promise<void> {
  return new Promise(resolve => setTimeout(resolve, 1))
}

async function write(bucket: Bucket, value: string): Promise<void> {
  for (let index = 0; index < documents; index++) {
    set(bucket, bucket.vbucket(index % 16)!, `document-${index}`, `${index} ${value}`)
  }
  await committed(bucket)
}

function assertRead(t: Test, bucket: Bucket, value: string): void {
  for (let index = 0; index < documents; index++) {
    const vbucket = bucket.vbucket(index % 16)!
    if (read(bucket, vbucket, `document-${index}`) !== `${index} ${value}`) t.fail(`${index}`)
  }
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
  const lines: string[] = []
  const note = (_: object, message: string) => {
    if (message.includes('mostly free')) lines.push(message)
  }
  const log: Log = { ...silentLog, info: note, warn: note, child: () => log }
  const options = { settings: { ...settings, compactBytesMax }, clock, log }
  const { buckets, bucket } = await openBuckets(t, directory, options)
  await write(bucket, large)
  const pinned = await pin(bucket, 1)
  await write(bucket, 'small')
  t.ok(sizeIn(directory) > documents * large.length, 'the file is as large as it has been')
  const isSmall = () => sizeIn(directory) < 2 ** 21
  const isCopied = () => existsSync(copyIn(directory))
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
  await until(t, 'the file is small', () => lines.length > 0)
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
  await until(t, 'the copy is gone', () => !isCopied())
  if (process.platform === 'linux') {
    await until(t, 'nobody has the old file', () => lingering(directory).length === 0)
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
  await until(t, 'the copy is being made', isCopied)
  const vbucket = bucket.vbucket(3)!
  set(bucket, vbucket, 'awaited', 'value')
  await committed(bucket)
  t.equal(vbucket.persistedSeqno, vbucket.highSeqno)
  await until(t, 'the copy is gone', () => !isCopied())
  t.notOk(isSmall())
  t.same(lines, [])
  await until(t, 'the file is small', () => {
    clock.advance(1000)
    return bucket.statistics().compactions === 1
  })
  t.ok(isSmall())
  assertRead(t, bucket, 'small')
  t.equal(read(bucket, vbucket, 'awaited'), 'value')
})

t.test('who changes a vbucket does not wait for the copy', async t => {
  const clock = new ManualClock()
  const { bucket, pinned, isSmall, isCopied } = await makeScene({ t, clock })
  pinned.release()
  clock.advance(1000)
  await until(t, 'the copy is being made', isCopied)
  await bucket.deleteVbucket(5)
  await until(t, 'the copy is gone', () => !isCopied())
  t.notOk(isSmall())
})

t.test(
  'a snapshot that is pinned meanwhile is read to its end, and the file is small after',
  async t => {
    const { directory, bucket, pinned, isSmall, isCopied } = await makeScene({ t })
    pinned.release()
    await until(t, 'the copy is being made', isCopied)
    const late = await pin(bucket, 2, 'another')
    await until(t, 'the copy is gone', () => !isCopied())
    t.notOk(isSmall(), `${sizeIn(directory)} bytes`)
    t.equal(await framesIn(bucket, late), documents / 16)
    late.release()
    await until(t, 'the file is small', () => bucket.statistics().compactions === 1)
    t.ok(isSmall())
  },
)

t.test('a bucket that is closed meanwhile does not wait for the copy', async t => {
  const { directory, buckets, pinned, isSmall, isCopied } = await makeScene({ t })
  pinned.release()
  await until(t, 'the copy is being made', isCopied)
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
    await until(t, 'it has been tried', () => lines.length > 0)
    t.same(lines, failed)
    await until(t, 'the copy is gone', () => !isCopied())
    t.notOk(isSmall())
    set(bucket, bucket.vbucket(3)!, 'after', 'value')
    await committed(bucket)
    t.equal(read(bucket, bucket.vbucket(3)!, 'after'), 'value')
    const again = await pin(bucket, 1)
    again.release()
    await until(t, 'nothing is pinned', () => bucket.snapshots.pinnedIn(0) === 0)
    await soon()
    t.notOk(isCopied(), 'once is enough')
  },
)

const elsewhere = process.platform !== 'linux' && { skip: 'limits are set as Linux does' }

t.test('a process out of files goes on in the one that it has', elsewhere || {}, async t => {
  const { directory, bucket, buckets, pinned, lines, isSmall, isCopied } = await makeScene({ t })
  pinned.release()
  await until(t, 'the copy is being made', isCopied)
  // By another process, as this one cannot start any while it lasts.
  const limit = `--pid ${process.pid} --nofile`
  const script = `prlimit ${limit}=3: && sleep 2 && prlimit ${limit}=$(ulimit -n):`
  const limiting = once(spawn('sh', ['-c', script], { stdio: 'ignore' }), 'exit')
  const [line] = await Promise.all([
    until(t, 'it has been tried', () => lines.length > 0).then(() => lines[0]),
    limiting,
  ])
  t.equal(line, 'a file that is mostly free could not be written anew')
  t.notOk(isSmall())
  await until(t, 'the copy is gone', () => !isCopied())
  await write(bucket, 'after it')
  assertRead(t, bucket, 'after it')
  const again = await pin(bucket, 1)
  t.equal(await framesIn(bucket, again), documents / 16)
  again.release()
  t.same(lingering(directory), [])
  await buckets.close()
  t.same(await checkStore(directory), [])
})
