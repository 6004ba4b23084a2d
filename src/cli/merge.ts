import { merge, type MergeResult } from '../backup/merge/merge.ts'
import { secretOf } from './archive-access.ts'
import type { ArchiveOptions } from './archive-options.ts'
import { mergeEvents } from './archive-progress.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { JobOptions } from './job-options.ts'
import { runJob } from './run-job.ts'
import { changesText, countText, durationText, sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface MergeCommandOptions extends ArchiveOptions, JobOptions {
  from?: string
  to?: string
  threads: number
  lockTimeout: number
}

export async function mergeBackups(
  options: MergeCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, from, to, threads } = options
  if (from === undefined && to === undefined)
    throw new CommandError(ExitCode.usage, '--from, --to, or both')
  await runJob(options, world, {
    job: 'merge',
    events: mergeEvents,
    gauges: async () => (await import('./archive-metrics.ts')).mergeGauges,
    advice: 'run it again to go on from here',
    work: place =>
      merge({
        ...place,
        repository: repo,
        range: { from, to },
        secret: secretOf(options, world.env),
        threads,
        lockTimeoutMs: options.lockTimeout * 1000,
      }),
    finish: (result, seconds) => ({
      json: { type: 'complete', ...result },
      text: textOf(result, seconds),
    }),
  })
}

function textOf({ merged, backup }: MergeResult, seconds: number): string {
  const { id, type, counts, storedBytes } = backup
  return (
    `${id} ${type}, of ${countText(merged.length, 'backup')}: ${changesText(counts)}; ` +
    `${sizeText(storedBytes)}, ${durationText(seconds)}\n`
  )
}
