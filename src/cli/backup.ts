import { backUp, type BackupDocument, type CompressionName } from '../backup/index.ts'
import { resumeAdvice, secretOf, withStore, type ArchiveOptions } from './archive-options.ts'
import { backupGauges } from './backup-metrics.ts'
import { backupEvents } from './backup-progress.ts'
import { accessOf, type Target } from './command-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { reportOf, type JobOptions } from './job-options.ts'
import { durationText, sizeText } from './sizes.ts'
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
  const startedMs = performance.now()
  const job = { job: 'backup', bucket, events: backupEvents, gauges: backupGauges } as const
  await reportOf(options, world, job).during(
    report =>
      withStore(
        options,
        world,
        (store, signal) =>
          backUp({
            store,
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
            signal,
            report,
          }),
        resumeAdvice,
      ),
    backup => ({
      json: { type: 'complete', backup },
      text: textOf(backup, (performance.now() - startedMs) / 1000),
    }),
  )
}

function textOf({ id, type, counts, storedBytes }: BackupDocument, seconds: number): string {
  const { mutation, deletion, expiration, documentBytes } = counts
  return (
    `${id} ${type}: ${mutation} mutations, ${deletion} deletions, ${expiration} expirations; ` +
    `${sizeText(documentBytes)} in ${sizeText(storedBytes)}, ${durationText(seconds)}\n`
  )
}
