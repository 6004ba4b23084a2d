import { verify, type VerifyResult } from '../backup/verify/verify.ts'
import { secretOf } from './archive-access.ts'
import type { ArchiveOptions } from './archive-options.ts'
import { verifyEvents } from './archive-progress.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { JobOptions } from './job-options.ts'
import { runJob } from './run-job.ts'
import { countText, durationText, sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface VerifyCommandOptions extends ArchiveOptions, JobOptions {
  backup?: string
  quick?: boolean
  sample?: number
  threads: number
}

export async function verifyBackups(
  options: VerifyCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, backup, quick, sample, threads } = options
  if (quick && sample !== undefined)
    throw new CommandError(ExitCode.usage, 'either --quick or --sample, not both')
  await runJob(options, world, {
    job: 'verify',
    events: verifyEvents,
    gauges: async () => (await import('./archive-metrics.ts')).verifyGauges,
    work: place =>
      verify({
        ...place,
        repository: repo,
        backup,
        secret: secretOf(options, world.env),
        samplePercent: quick ? 0 : (sample ?? 100),
        threads,
      }),
    finish: (result, seconds) => ({
      json: { type: 'complete', ...result },
      text: textOf(result, seconds),
      failure: failureOf(result),
    }),
  })
}

function textOf(result: VerifyResult, seconds: number): string {
  const { backups, objects, objectsRead, records, bytesRead, damages } = result
  return (
    `${countText(backups, 'backup')}, ${countText(objects, 'object')}, ` +
    `of which ${objectsRead} were read: ${countText(records, 'change')}, ${sizeText(bytesRead)}; ` +
    `${countText(damages, 'damage')}, ${durationText(seconds)}\n`
  )
}

function failureOf({ damages }: VerifyResult): CommandError | undefined {
  if (damages === 0) return undefined
  return new CommandError(ExitCode.damaged, `found ${countText(damages, 'damage')}`)
}
