import {
  backUp,
  type BackupDocument,
  type CompressionName,
  type ObjectStore,
} from '../backup/index.ts'
import { secretOf, withStore, type ArchiveOptions } from './archive-options.ts'
import { BackupProgress } from './backup-progress.ts'
import { accessOf, type Target } from './command-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { durationText, sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface BackupCommandOptions extends Target, ArchiveOptions {
  staging: string
  resume?: boolean
  purge?: boolean
  full?: boolean
  compression?: CompressionName
  threads: number
  lockTimeout: number
  json?: boolean
}

export async function backUpBucket(
  options: BackupCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { bucket, resume, purge, full, json = false } = options
  if (resume && purge)
    throw new CommandError(ExitCode.usage, 'either --resume or --purge, not both')
  const progress = new BackupProgress(world, json)
  const startedMs = performance.now()
  try {
    const work = (store: ObjectStore, signal: AbortSignal) =>
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
        lockTimeoutMs: options.lockTimeout * 1000,
        signal,
        report: event => progress.report(event),
      })
    const backup = await withStore(options, world, work, '--resume goes on from here')
    progress.end()
    const seconds = (performance.now() - startedMs) / 1000
    world.stdout.write(json ? jsonOf(backup) : textOf(backup, seconds))
  } finally {
    progress.end()
  }
}

function jsonOf(backup: BackupDocument): string {
  return `${JSON.stringify({ type: 'complete', backup })}\n`
}

function textOf({ id, type, counts, storedBytes }: BackupDocument, seconds: number): string {
  const { mutation, deletion, expiration, documentBytes } = counts
  return (
    `${id} ${type}: ${mutation} mutations, ${deletion} deletions, ${expiration} expirations; ` +
    `${sizeText(documentBytes)} in ${sizeText(storedBytes)}, ${durationText(seconds)}\n`
  )
}
