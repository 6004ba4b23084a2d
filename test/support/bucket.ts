import type { Test } from 'tap'
import { systemClock, type Clock } from '../../src/clock.ts'
import { silentLog, type Log } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { Buckets, type BucketsOptions } from '../../src/vbucket/buckets.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { StoreRequest } from '../../src/vbucket/store-request.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'

/** Small enough that a test fills a change log, a map and a segment in no time. */
export const smallSettings: BucketsOptions['settings'] = {
  vbuckets: 16,
  bucketsMax: 8,
  environments: 2,
  mapSizeBytes: 2 ** 30,
  readerSlotsMax: 120,
  mappedBytesMax: 256 * 2 ** 20,
  compactBytesMax: 2 ** 30,
  changeLogBytes: 2 ** 20,
  // So that reads of what is on disk do read the disk.
  documentCacheBytes: 0,
  commitIntervalSeconds: 0,
  unflushedSoftBytes: 64 * 2 ** 20,
  unflushedHardBytes: 256 * 2 ** 20,
  valueBytesMax: 20 * 2 ** 20,
  compression: 'passive',
  // Many tests store what has a datatype that is not its own.
  detectJson: false,
  rangeScansMax: 8,
  rangeScanSeconds: 180,
  pinnedBytesMax: 2 ** 32,
  purgeAgeSeconds: 3 * 24 * 3600,
  purgeIntervalSeconds: 3600,
  expiryPagerIntervalSeconds: 3600,
  backfillGraceSeconds: 60,
}

export interface TestBuckets {
  buckets: Buckets
  bucket: Bucket
}

/** Opens the buckets of a directory; they are closed when the test ends. */
export async function openBuckets(
  t: Test,
  directory: string,
  options: {
    settings?: Partial<BucketsOptions['settings']>
    clock?: Clock
    log?: Log
    segmentBytes?: number
  } = {},
): Promise<TestBuckets> {
  const buckets = await Buckets.open({
    directory,
    settings: { ...smallSettings, ...options.settings },
    clock: options.clock ?? systemClock,
    random: systemRandom,
    log: options.log ?? silentLog,
    segmentBytes: options.segmentBytes ?? 64 * 1024,
  })
  t.teardown(() => buckets.close())
  return { buckets, bucket: buckets.get('default')! }
}

/** A key of the default collection, as it lies in the server. */
export function documentKey(key: string): Buffer {
  return Buffer.from(`\0${key}`)
}

/** A store request for the key and value, everything else at its default. */
export function storing(key: string, value: string | Buffer = ''): StoreRequest {
  const request = new StoreRequest()
  request.key = documentKey(key)
  request.keyLength = request.key.length
  request.value = Buffer.from(value)
  request.valueLength = request.value.length
  return request
}

/** The live document's value as text, or undefined. */
export function read(bucket: Bucket, vbucket: Vbucket, key: string): string | undefined {
  const bytes = documentKey(key)
  return bucket.documents.get(vbucket, bytes, 0, bytes.length)?.value().toString()
}

export function set(bucket: Bucket, vbucket: Vbucket, key: string, value: string): number {
  const status = bucket.documents.store(vbucket, storing(key, value))
  if (status !== 0) throw new Error(`set ${key}: status ${status}`)
  return bucket.documents.result.seqno
}

export function remove(bucket: Bucket, vbucket: Vbucket, key: string): number {
  const status = bucket.documents.remove(vbucket, storing(key))
  if (status !== 0) throw new Error(`remove ${key}: status ${status}`)
  return bucket.documents.result.seqno
}

/** Resolves when everything written so far is in LMDB. */
export function committed(bucket: Bucket): Promise<void> {
  return new Promise(done => bucket.afterCommit(done))
}

/** Resolves when everything written so far would survive a crash, or is waited for no longer. */
export function durable(bucket: Bucket): Promise<void> {
  return new Promise(done => bucket.afterDurable(() => done()))
}

/**
 * Writes durably until it is the journal that answers: while it prepares its files, whoever waits
 * is told by a commit.
 */
export async function untilJournalAnswers(bucket: Bucket, vbucket: Vbucket): Promise<void> {
  do {
    set(bucket, vbucket, 'warm', 'up')
    await durable(bucket)
    await new Promise(resolve => setTimeout(resolve, 5))
  } while (vbucket.persistedSeqno === vbucket.highSeqno)
}
