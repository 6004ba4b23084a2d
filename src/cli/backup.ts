import type { BackupDocument, CompressionName } from '../backup/index.ts'
import { backUp } from '../backup/run/backup.ts'
import { resumeAdvice, secretOf } from './archive-access.ts'
import type { ArchiveOptions } from './archive-options.ts'
import { backupEvents } from './backup-progress.ts'
import { accessOf, type Target } from './command-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { JobOptions } from './job-options.ts'
import { runJob } from './run-job.ts'
import { changesText, durationText, sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface BackupCommandOptions extends Target, ArchiveOptions, JobOptions {
  staging: string
  resume?: boolean
  purge?: boolean
  full?: boolean
  compression?: CompressionName
  threads: number
  packBelow?: number
  lockTimeout: number
}

export async function backUpBucket(
  options: BackupCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { bucket, resume, purge, full } = options
  if (resume && purge)
    throw new CommandError(ExitCode.usage, 'either --resume or --purge, not both')
  await runJob(options, world, {
    job: 'backup',
    bucket,
    events: backupEvents,
    gauges: async () => (await import('./backup-metrics.ts')).backupGauges,
    advice: resumeAdvice,
    work: place =>
      backUp({
        ...place,
        repository: options.repo,
        source: { bucket, ...accessOf(options, world.env) },
        stagingRoot: options.staging,
        unfinished: resume ? 'resume' : purge ? 'purge' : undefined,
        full: full ?? false,
        compression: options.compression,
        secret: secretOf(options, world.env),
        threads: options.threads,
        packBelow: options.packBelow,
        lockTimeoutMs: options.lockTimeout * 1000,
      }),
    finish: (backup, seconds) => ({
      json: { type: 'complete', backup },
      text: textOf(backup, seconds),
    }),
  })
}

function textOf({ id, type, counts, storedBytes }: BackupDocument, seconds: number): string {
  return (
    `${id} ${type}: ${changesText(counts)}; ` +
    `${sizeText(counts.documentBytes)} in ${sizeText(storedBytes)}, ${durationText(seconds)}\n`
  )
}
