import { restore } from '../backup/restore/restore.ts'
import { resumeAdvice, secretOf } from './archive-access.ts'
import type { ArchiveOptions } from './archive-options.ts'
import { restoreEvents } from './backup-progress.ts'
import { accessOf, type Target } from './command-options.ts'
import type { JobOptions } from './job-options.ts'
import { runJob } from './run-job.ts'
import { countText, durationText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface RestoreCommandOptions extends Target, ArchiveOptions, JobOptions {
  from?: string
  to?: string
  keyPrefix?: string[]
  keyPattern?: string
  collection?: string[]
  scope?: string[]
  mapCollection?: string[]
  force?: boolean
  resume?: boolean
  staging: string
  threads: number
  changeLimit?: number
}

export async function restoreBucket(
  options: RestoreCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, bucket, from, to, keyPrefix, keyPattern, threads, changeLimit } = options
  await runJob(options, world, {
    job: 'restore',
    bucket,
    events: restoreEvents,
    gauges: async () => (await import('./backup-metrics.ts')).restoreGauges,
    advice: resumeAdvice,
    work: place =>
      restore({
        ...place,
        repository: repo,
        from,
        to,
        keyPrefixes: keyPrefix,
        keyPattern,
        collections: options.collection,
        scopes: options.scope,
        collectionMap: options.mapCollection,
        target: { bucket, ...accessOf(options, world.env) },
        secret: secretOf(options, world.env),
        force: options.force ?? false,
        resume: options.resume ?? false,
        stagingRoot: options.staging,
        threads,
        changesPerSecond: changeLimit,
      }),
    finish(result, seconds) {
      const { applied, skipped, filtered, backups } = result
      const others = filtered === 0 ? '' : `, ${filtered} not asked for`
      const text =
        `${backups.at(-1)!}: ${countText(applied, 'change')} applied, ${skipped} skipped as the bucket has them ` +
        `or newer ones${others}, ${durationText(seconds)}\n`
      return { json: { type: 'complete', ...result }, text }
    },
  })
}
