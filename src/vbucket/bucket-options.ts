/** What a bucket is opened with, and what it tells who listens. */
import type { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Clock } from '../clock.ts'
import type { Settings } from '../config/settings.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'

export type BucketSettings = Pick<
  Settings,
  | 'mapSizeBytes'
  | 'compactBytesMax'
  | 'readerSlotsMax'
  | 'mappedBytesMax'
  | 'changeLogBytes'
  | 'documentCacheBytes'
  | 'commitIntervalSeconds'
  | 'unflushedSoftBytes'
  | 'unflushedHardBytes'
  | 'valueBytesMax'
  | 'compression'
  | 'detectJson'
  | 'rangeScansMax'
  | 'rangeScanSeconds'
  | 'pinnedBytesMax'
  | 'purgeAgeSeconds'
  | 'purgeIntervalSeconds'
  | 'expiryPagerIntervalSeconds'
  | 'backfillGraceSeconds'
>

export interface BucketOptions {
  directory: string
  settings: BucketSettings
  clock: Clock
  random: Random
  log: Log
  /** Size of one piece of the change log and of the document cache. */
  segmentBytes?: number
}

export interface BucketEvents {
  state: [vbid: number, before: VbucketState | undefined, after: VbucketState]
  'failover-log': [vbid: number]
  'vbucket-deleted': [vbid: number]
  flushed: []
  /** The manifest is another one; `dropped` are ids of collections that are not in it any more. */
  manifest: [dropped: readonly number[]]
  deleted: []
}
