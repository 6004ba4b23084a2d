import type { Bucket } from '../vbucket/bucket.ts'
import type { BucketStatistics } from '../vbucket/bucket-statistics.ts'
import { perScrape, type MetricsRegistry, type Sample } from './registry.ts'

type Figure = readonly [name: string, help: string, read: (of: BucketStatistics) => number]

const gauges: readonly Figure[] = [
  ['items', 'Documents.', of => of.items],
  ['tombstones', 'Deletions that are not purged yet.', of => of.tombstones],
  ['document_bytes', 'Keys and values of documents, as they are stored.', of => of.documentBytes],
  ['quota_bytes', 'What these may take; 0: no limit.', of => of.quotaBytes],
  ['unflushed_bytes', 'Bytes of changes that are not committed yet.', of => of.unflushedBytes],
  ['change_log_bytes', 'Memory that the change log takes.', of => of.changeLogBytes],
  ['document_cache_bytes', 'Memory that the document cache takes.', of => of.documentCacheBytes],
  [
    'last_commit_seconds',
    'Duration of the last commit, its fsync included.',
    of => of.lastCommitMs / 1000,
  ],
  ['storage_failing', '1 while nothing can be written to disk.', of => (of.failure ? 1 : 0)],
]

const counters: readonly Figure[] = [
  ['commits_total', 'Commits, each durable.', of => of.commits],
  ['commit_seconds_total', 'Time spent in commits.', of => of.commitMsTotal / 1000],
  ['committed_records_total', 'Changes written by commits.', of => of.records],
  ['compactions_total', 'Files written anew while they were served.', of => of.compactions],
  ['quota_refusals_total', 'Writes that the quota had no room for.', of => of.quotaRefusals],
  ['expired_total', 'Documents that the expiry pager deleted.', of => of.expired],
  ['purged_total', 'Tombstones purged.', of => of.purged],
  ['purge_passes_total', 'Passes of the purger.', of => of.purgePasses],
]

const environmentGauges = [
  ['allocated_bytes', 'Size of an LMDB environment.', 'allocatedBytes'],
  ['live_bytes', 'Bytes of an LMDB environment that are in use.', 'liveBytes'],
] as const

/** What buckets hold, and how their commits, expiry and purging go. */
export function registerBuckets(registry: MetricsRegistry, list: () => readonly Bucket[]): void {
  const statistics = perScrape(() => list().map(each => [each, each.statistics()] as const))
  const samples = (read: Figure[2]): Sample<'bucket'>[] =>
    statistics().map(([{ name }, of]) => ({ labels: { bucket: name }, value: read(of) }))
  for (const [name, help, read] of gauges) {
    registry.gauge({ name: `holdfast_bucket_${name}`, help, labels: ['bucket'] }, () =>
      samples(read),
    )
  }
  for (const [name, help, read] of counters) {
    registry.counter({ name: `holdfast_bucket_${name}`, help, labels: ['bucket'] }, () =>
      samples(read),
    )
  }
  for (const [name, help, field] of environmentGauges) {
    const labels = ['bucket', 'environment'] as const
    registry.gauge({ name: `holdfast_environment_${name}`, help, labels }, () =>
      statistics().flatMap(([bucket, { environments }]) =>
        environments.map((figures, environment) => ({
          labels: { bucket: bucket.name, environment },
          value: figures[field],
        })),
      ),
    )
  }
  registerSnapshots(registry, list)
}

/** Snapshots that streams or parked clients hold on disk. */
function registerSnapshots(registry: MetricsRegistry, list: () => readonly Bucket[]): void {
  const perBucket = (read: (bucket: Bucket) => number) => () =>
    list().map(bucket => ({ labels: { bucket: bucket.name }, value: read(bucket) }))
  const oldestAgeMs = ({ snapshots }: Bucket): number =>
    Math.max(0, ...snapshots.pins().map(pin => pin.ageMs))
  const figures = [
    [
      'holdfast_pinned_snapshots',
      'LMDB read transactions that snapshots hold.',
      bucket => bucket.snapshots.pins().length,
    ],
    [
      'holdfast_pinned_bytes',
      'Disk that snapshots keep from reuse.',
      bucket => bucket.snapshots.pinnedBytes(),
    ],
    [
      'holdfast_pinned_oldest_seconds',
      'Age of the oldest snapshot.',
      bucket => oldestAgeMs(bucket) / 1000,
    ],
    [
      'holdfast_purge_holds',
      'Holds that keep the purger back, one for each vbucket and client.',
      bucket => bucket.holds.list().length,
    ],
  ] as const satisfies readonly [string, string, (bucket: Bucket) => number][]
  for (const [name, help, read] of figures) {
    registry.gauge({ name, help, labels: ['bucket'] }, perBucket(read))
  }
}
