/** What was acknowledged as durable is there after kill -9, whatever became full meanwhile. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import type { Bucket, BucketSettings } from '../../src/vbucket/bucket.ts'
import {
  committed,
  durable,
  openBuckets,
  read,
  set,
  storing,
  untilJournalAnswers,
} from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'

/** A bucket that cannot write waits ten seconds before it gives up; here it is one. */
const hasty: Clock = {
  ...systemClock,
  after: (delayMs, callback) => systemClock.after(delayMs / 10, callback),
}

const writer = join(import.meta.dirname, 'journal-writer.js')
const deadlineMs = 60_000

type Message = [kind: string, ...fields: unknown[]]

interface Run {
  settings?: Partial<BucketSettings>
  /** Of each file, in KiB. */
  fileLimit?: number
  count?: number
}

/** Runs the writer until it has written all it can, kills it, and returns what it said. */
async function writeAndKill(t: Test, directory: string, run: Run): Promise<Message[]> {
  const report = `${directory}-report`
  rmSync(report, { force: true })
  // What the test runner preloads ends a process at SIGXFSZ, which node itself ignores.
  const limit =
    run.fileLimit === undefined ? '' : `unset NODE_OPTIONS; ulimit -S -f ${run.fileLimit};`
  const settings = JSON.stringify(run.settings ?? {})
  const args = [process.execPath, writer, directory, report, settings, `${run.count ?? 'Infinity'}`]
  const child = spawn('bash', ['-c', `${limit} exec "$0" "$@"`, ...args], { stdio: 'inherit' })
  t.teardown(() => child.kill('SIGKILL'))
  let hasExited = false
  const exited = once(child, 'exit').then(() => (hasExited = true))
  const said = () => messagesIn(report)
  const deadline = Date.now() + deadlineMs
  while (!hasExited && !said().some(([kind]) => kind === 'refused')) {
    if (Date.now() > deadline) throw new Error('the writer does not come to its end')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
  child.kill('SIGKILL')
  await exited
  return said()
}

function messagesIn(report: string): Message[] {
  try {
    const lines = readFileSync(report, 'utf8').split('\n').slice(0, -1)
    return lines.map(line => JSON.parse(line) as Message)
  } catch {
    return []
  }
}

/** Not always the last: the journal may have been writing when a write was refused. */
function refusalIn(messages: Message[]): unknown[] {
  const [, ...fields] = messages.find(([kind]) => kind === 'refused') ?? []
  return fields
}

function acknowledged(messages: Message[]): [vbid: number, key: string][] {
  return messages
    .filter(([kind]) => kind === 'durable')
    .map(([, vbid, key]) => [vbid as number, key as string])
}

function missing(bucket: Bucket, documents: [vbid: number, key: string][]): string[] {
  return documents
    .filter(([vbid, key]) => !read(bucket, bucket.vbucket(vbid)!, key)?.startsWith(`${key}:`))
    .map(([, key]) => key)
}

t.test('a map that is filled by durable writes has all of them after kill -9', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  const mapSizeBytes = 24 * 2 ** 20
  const settings = { mapSizeBytes, commitIntervalSeconds: 0.2 }
  const messages = await writeAndKill(t, directory, { settings })
  t.same(refusalIn(messages), [Status.temporaryFailure, 'map-full'])
  const documents = acknowledged(messages)
  t.ok(documents.length > 2000, `${documents.length} are acknowledged`)

  const { buckets, bucket } = await openBuckets(t, directory, { settings })
  t.same(missing(bucket, documents), [])
  await buckets.close()
  t.same(await checkStore(directory), [])
  const roomy = await openBuckets(t, directory)
  t.same(missing(roomy.bucket, documents), [])
  set(roomy.bucket, roomy.bucket.vbucket(1)!, 'more', 'v')
  await durable(roomy.bucket)
})

t.test('a start brings what the journal has beyond the limit of the map', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  // A commit interval so long that LMDB gets nothing but by the journal.
  const run = { settings: { commitIntervalSeconds: 60 }, count: 1200 }
  const documents = acknowledged(await writeAndKill(t, directory, run))
  t.equal(documents.length, 1200)
  const settings = { mapSizeBytes: 4 * 2 ** 20 }
  const { buckets, bucket } = await openBuckets(t, directory, { settings, clock: hasty })
  t.same(missing(bucket, documents), [])
  const vbucket = bucket.vbucket(1)!
  t.equal(vbucket.persistedSeqno, 600)
  t.equal(vbucket.failoverLog.entries[0]!.seqno, 600)

  // Whoever waits for durability waits in vain, and is not told otherwise until that is clear.
  let told: Error | 'durable' | undefined
  set(bucket, vbucket, 'too much', 'v')
  bucket.afterDurable(error => (told = error ?? 'durable'))
  while (!bucket.failure) await new Promise(resolve => setTimeout(resolve, 5))
  t.equal(bucket.failure.code, 'map-full')
  t.equal(bucket.documents.store(vbucket, storing('a', 'v')), Status.temporaryFailure)
  t.equal(told, undefined)
  t.same(missing(bucket, documents), [], 'it goes on reading')
  await buckets.close()
  t.match(told, { message: 'the bucket is closing' })
  t.same(await checkStore(directory), [])
})

t.test('once room is made, a map that was too full takes durable writes', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  const run = { settings: { commitIntervalSeconds: 60 }, count: 1200 }
  await writeAndKill(t, directory, run)
  const settings = { mapSizeBytes: 4 * 2 ** 20, commitIntervalSeconds: 60 }
  const { buckets, bucket } = await openBuckets(t, directory, { settings })
  await bucket.flush()
  const vbucket = bucket.vbucket(1)!
  await untilJournalAnswers(bucket, vbucket)
  t.equal(bucket.failure, undefined)
  t.pass('by the journal')
  await committed(bucket)
  await buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('what LMDB may have no room for is not taken by the journal', async t => {
  const settings = { mapSizeBytes: 4 * 2 ** 20, commitIntervalSeconds: 60 }
  const { bucket } = await openBuckets(t, t.testdir(), { settings })
  const vbucket = bucket.vbucket(1)!
  await untilJournalAnswers(bucket, vbucket)
  set(bucket, vbucket, 'large', 'x'.repeat(2 * 2 ** 20))
  await durable(bucket)
  t.equal(vbucket.persistedSeqno, vbucket.highSeqno, 'it waits for a commit')
})

t.test('a disk that is filled by durable writes has all of them after kill -9', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  // Room for the journal's files, so that they go on when those of LMDB cannot.
  const fileLimit = 17_000
  const settings = { commitIntervalSeconds: 0.5 }
  const messages = await writeAndKill(t, directory, { settings, fileLimit })
  const [status, code] = refusalIn(messages)
  t.equal(status, Status.temporaryFailure)
  t.match(code, /^disk-(full|failing)$/)
  const documents = acknowledged(messages)
  t.ok(documents.length > 2000, `${documents.length} are acknowledged`)

  const again = await writeAndKill(t, directory, { settings, fileLimit, count: 0 })
  t.comment(JSON.stringify(again))
  if (again[0]![0] === 'code') {
    t.match(again[0]![1], /^disk-(full|failing)$/, 'it says why it does not start')
    t.ok(again[0]![2])
  } else t.equal(again[0]![0], 'open')
  const { buckets, bucket } = await openBuckets(t, directory)
  t.same(missing(bucket, documents), [])
  set(bucket, bucket.vbucket(1)!, 'more', 'v')
  await durable(bucket)
  await buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('a disk without room for the journal has durable writes wait for commits', async t => {
  const directory = join(t.testdir({ data: {} }), 'data')
  const messages = await writeAndKill(t, directory, { fileLimit: 10_000, count: 200 })
  const documents = acknowledged(messages)
  t.equal(documents.length, 200, `the last word: ${JSON.stringify(messages.at(-1))}`)
  const { bucket } = await openBuckets(t, directory)
  t.same(missing(bucket, documents), [])
})
