import { remove, type RemoveResult } from '../backup/remove/remove.ts'
import type { RepositoryPlace } from './archive-options.ts'
import { removeEvents } from './archive-progress.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { JobOptions } from './job-options.ts'
import { runJob } from './run-job.ts'
import { countText, sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface RemoveCommandOptions extends RepositoryPlace, JobOptions {
  backup?: string
  from?: string
  to?: string
  breakChain?: boolean
  dryRun?: boolean
  lockTimeout: number
}

export async function removeBackups(
  options: RemoveCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { backup, from, to, breakChain = false, dryRun = false } = options
  const isRange = from !== undefined || to !== undefined
  if ((backup === undefined) === !isRange)
    throw new CommandError(ExitCode.usage, 'either --backup, or --from and --to')
  await runJob(options, world, {
    job: 'remove',
    events: removeEvents,
    gauges: async () => (await import('./archive-metrics.ts')).removeGauges,
    tellsMemory: false,
    work: place =>
      remove({
        ...place,
        repository: options.repo,
        selection: backup === undefined ? { from, to } : { backup },
        breakChain,
        dryRun,
        lockTimeoutMs: options.lockTimeout * 1000,
      }),
    finish: result => ({ json: { type: 'complete', ...result }, text: textOf(result, dryRun) }),
  })
}

function textOf({ backups, objects, bytes, broken }: RemoveResult, dryRun: boolean): string {
  const names = backups.map(id => `${dryRun ? 'would remove' : 'removed'} ${id}\n`)
  const lost = broken.map(id => `cannot be restored any more: ${id}\n`)
  const sum = dryRun
    ? ''
    : `${countText(backups.length, 'backup')}, ${countText(objects, 'object')}, ${sizeText(bytes)}\n`
  return [...names, ...lost, sum].join('')
}
