import { strict as assert } from 'node:assert'
import { execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import t from 'tap'
import { Status } from '../../protocol/status.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { OperatorError } from '../../src/errors.ts'
import { openEnvironment } from '../../src/storage/environment.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { committed, openBuckets, read, set, smallSettings, storing } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'

const value = 'x'.repeat(10_000)

/** A bucket that cannot write waits ten seconds before it gives up; here it is one. */
const hasty: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs / 10, callback),
}

/** Writes until a write is refused; returns how many documents are on disk, and that status. */
async function fill(bucket: Bucket, vbid: number): Promise<{ persisted: number; status: Status }> {
  const vbucket = bucket.vbucket(vbid)!
  let persisted = 0
  for (let i = 0; ; i++) {
    const status = bucket.documents.store(vbucket, storing(`key-${i}`, `${i}:${value}`))
    if (status !== Status.success) return { persisted, status }
    bucket.afterCommit(() => (persisted = i + 1))
    while (bucket.changes.unflushedBytes > 500_000 && !bucket.failure) {
      await new Promise(resolve => setTimeout(resolve, 5))
    }
  }
}

function readable(bucket: Bucket, vbid: number, count: number): number {
  const vbucket = bucket.vbucket(vbid)!
  let found = 0
  for (let i = 0; i < count; i++) {
    if (read(bucket, vbucket, `key-${i}`)?.startsWith(`${i}:`)) found++
  }
  return found
}

t.test('a full map refuses writes and goes on reading; a larger one has all of it', async t => {
  const directory = t.testdir()
  const mapSizeBytes = 4 * 2 ** 20
  const settings = { mapSizeBytes, changeLogBytes: 0 }
  const { buckets, bucket } = await openBuckets(t, directory, { settings, clock: hasty })
  const { persisted, status } = await fill(bucket, 1)
  t.equal(status, Status.temporaryFailure)
  t.equal(bucket.failure!.code, 'map-full')
  t.match(bucket.failure!.hint, '--map-size')
  t.ok(persisted > 200, `${persisted} documents are on disk`)
  t.equal(readable(bucket, 1, persisted), persisted)
  const other = bucket.documents.store(bucket.vbucket(0)!, storing('a', 'v'))
  t.equal(other, Status.temporaryFailure, 'in the other environment too: the log is one')
  const { allocatedBytes } = bucket.statistics().environments[1]!
  t.ok(allocatedBytes <= mapSizeBytes, `${allocatedBytes} bytes`)
  await assert.rejects(
    bucket.compact(1, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }),
    { status: Status.temporaryFailure },
  )
  await buckets.close()
  const again = await openBuckets(t, directory)
  t.equal(readable(again.bucket, 1, persisted), persisted)
  t.equal(again.bucket.vbucket(1)!.itemCount, persisted)
  t.equal(again.bucket.vbucket(1)!.highSeqno, persisted)
  set(again.bucket, again.bucket.vbucket(1)!, 'more', 'v')
  await committed(again.bucket)
  await again.buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('a batch that failed in one environment is not done twice in the other', async t => {
  const directory = t.testdir()
  const settings = { mapSizeBytes: 4 * 2 ** 20, changeLogBytes: 0 }
  const { buckets, bucket } = await openBuckets(t, directory, { settings })
  const purged = bucket.vbucket(0)!
  for (let i = 0; i < 10; i++) set(bucket, purged, `key-${i}`, 'v')
  for (let i = 0; i < 10; i++) bucket.documents.remove(purged, storing(`key-${i}`))
  await committed(bucket)
  const pinned = await pinWhole(bucket, 1)
  // Held by the pin, the earlier versions of these fill the map; released, there is room.
  const vbucket = bucket.vbucket(1)!
  for (let round = 0; round < 3; round++) {
    for (let i = 0; i < 100; i++) set(bucket, vbucket, `key-${i}`, `${round}${value}`)
    await committed(bucket)
  }
  for (let i = 0; i < 150; i++) set(bucket, vbucket, `key-${i}`, value)
  const everything = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  // In one batch with them: done in its own environment, while the other one fails.
  const compacted = bucket.compact(0, everything)
  while (!bucket.failure) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(bucket.failure.code, 'map-full')
  t.equal(read(bucket, vbucket, 'key-149'), value, 'what is not on disk yet is read')
  t.equal(purged.tombstoneCount, 10)
  pinned.release()
  await compacted
  t.equal(bucket.failure, undefined, 'it recovers by itself')
  t.equal(purged.tombstoneCount, 1)
  t.equal(purged.purgeSeqno, 19)
  await committed(bucket)
  t.equal(vbucket.persistedSeqno, vbucket.highSeqno)
  await buckets.close()
  t.same(await checkStore(directory), [])
})

function pinWhole(bucket: Bucket, vbid: number) {
  const request = { holder: 'c', reason: 'test', atLeastSeqno: 0 }
  return bucket.snapshots.pin(vbid, request)
}

t.test('a full disk refuses writes, goes on reading, and takes writes when it can', async t => {
  const directory = t.testdir()
  const writer = join(import.meta.dirname, 'disk-full-writer.js')
  // In KiB; soft, so that it can be raised again.
  const command = `trap '' XFSZ; ulimit -S -f 6000; exec "$0" "$1" "$2"`
  const child = spawn('bash', ['-c', command, process.execPath, writer, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  const next = async () =>
    JSON.parse((await lines.next()).value as string) as Record<string, number | string>
  const full = await next()
  t.equal(full['status'], Status.temporaryFailure)
  // LMDB reports a write that is cut short by the limit as EIO, one beyond it as EFBIG.
  t.match(full['code'], /^disk-(full|failing)$/)
  t.ok(full['hint'])
  t.ok(Number(full['persisted']) > 100)
  t.equal(full['readable'], Number(full['persisted']) + 1)
  execFileSync('prlimit', ['--pid', `${child.pid}`, '--fsize=unlimited'])
  const recovered = await next()
  t.equal(recovered['status'], Status.success, 'without a restart')
  t.equal(recovered['persistedSeqno'], recovered['highSeqno'])
  t.same(await exited, [0, null])
  t.same(await checkStore(directory), [])
  const { bucket } = await openBuckets(t, directory)
  const vbucket = bucket.vbucket(1)!
  t.equal(vbucket.highSeqno, Number(recovered['highSeqno']) + 1)
  t.equal(read(bucket, vbucket, 'after'), 'v')
  t.equal(vbucket.failoverLog.entries.length, 1, 'its stop was a clean one')
})

t.test('a process killed with a full disk has what it reported to be on disk', async t => {
  const directory = t.testdir()
  const writer = join(import.meta.dirname, 'disk-full-writer.js')
  const command = `trap '' XFSZ; ulimit -f 3000; exec "$0" "$1" "$2"`
  const child = spawn('bash', ['-c', command, process.execPath, writer, directory], {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const exited = once(child, 'exit')
  const [text] = (await once(child.stdout, 'data')) as [Buffer]
  const { persisted } = JSON.parse(text.toString()) as { persisted: number }
  child.kill('SIGKILL')
  await exited
  const { buckets, bucket } = await openBuckets(t, directory)
  t.ok(bucket.vbucket(1)!.highSeqno > persisted)
  t.equal(readable(bucket, 1, persisted + 1), persisted + 1)
  await buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('what LMDB itself reports is put into words', async t => {
  const open = (directory: string, more = {}) =>
    openEnvironment({ ...smallSettings, directory, create: true, ...more })
  const codeOf = (work: () => unknown) => {
    const error = t.throws(work, OperatorError) as OperatorError
    t.ok(error.hint)
    return error.code
  }
  t.equal(
    codeOf(() => open('/sys/kernel')),
    'not-writable',
  )
  const directory = t.testdir({ file: 'text' })
  t.equal(
    codeOf(() => open(join(directory, 'file'))),
    'no-directory',
  )
  const tables = join(directory, 'empty')
  await open(tables).close()
  await openEnvironment({ ...smallSettings, directory: tables }).close()
  const huge = { mapSizeBytes: 16 * 2 ** 40 }
  const large = ['one', 'two', 'three'].map(name => open(join(directory, name), huge))
  t.equal(
    codeOf(() => open(join(directory, 'four'), huge)),
    'map-too-large',
  )
  for (const environment of large) await environment.close()
  await open(join(directory, 'four'), huge).close()
  const none = join(directory, 'none')
  t.equal(
    codeOf(() => openEnvironment({ ...smallSettings, directory: none })),
    'store-damaged',
  )
})

t.test('a close while a purge is under way, or the disk refuses, comes to its end', async t => {
  const directory = t.testdir()
  const { buckets, bucket } = await openBuckets(t, directory)
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 9000; i++) set(bucket, vbucket, `key-${i}`, '')
  for (let i = 0; i < 9000; i++) bucket.documents.remove(vbucket, storing(`key-${i}`))
  const everything = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  const compacted = bucket.compact(1, everything).catch(() => undefined)
  const future = bucket.whenPersisted(1, 1e6).catch((error: unknown) => error)
  await buckets.close()
  await compacted
  t.match(await future, { status: Status.temporaryFailure })
  t.equal(bucket.documents.store(vbucket, storing('a', 'v')), Status.temporaryFailure)
  await assert.rejects(bucket.setState(1, 2), { status: Status.temporaryFailure })
  t.same(await checkStore(directory), [])
  const again = await openBuckets(t, directory)
  t.equal(again.bucket.vbucket(1)!.highSeqno, 18_000)
  t.equal(again.bucket.vbucket(1)!.failoverLog.entries.length, 1)
})
