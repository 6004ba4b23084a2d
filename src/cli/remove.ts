import { remove, type RemoveEvent, type RemoveResult } from '../backup/index.ts'
import { withStore, type ArchivePlace } from './archive-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { StatusLine } from './status-line.ts'
import { sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface RemoveCommandOptions extends ArchivePlace {
  repo: string
  backup?: string
  from?: string
  to?: string
  breakChain?: boolean
  dryRun?: boolean
  lockTimeout: number
  json?: boolean
}

export async function removeBackups(
  options: RemoveCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { backup, from, to, breakChain = false, dryRun = false, json = false } = options
  const isRange = from !== undefined || to !== undefined
  if ((backup === undefined) === !isRange)
    throw new CommandError(ExitCode.usage, 'either --backup, or --from and --to')
  const line = new StatusLine(world.stderr)
  const report = (event: RemoveEvent) => {
    if (json) world.stdout.write(`${JSON.stringify(event)}\n`)
    else if (event.type === 'progress')
      line.show(`${event.objects} objects, ${sizeText(event.bytes)}`)
  }
  try {
    const result = await withStore(options, world, (store, signal) =>
      remove({
        store,
        repository: options.repo,
        selection: backup === undefined ? { from, to } : { backup },
        breakChain,
        dryRun,
        lockTimeoutMs: options.lockTimeout * 1000,
        signal,
        report,
      }),
    )
    line.end()
    const end = json
      ? `${JSON.stringify({ type: 'complete', ...result })}\n`
      : textOf(result, dryRun)
    world.stdout.write(end)
  } finally {
    line.end()
  }
}

function textOf({ backups, objects, bytes, broken }: RemoveResult, dryRun: boolean): string {
  const names = backups.map(id => `${dryRun ? 'would remove' : 'removed'} ${id}\n`)
  const lost = broken.map(id => `cannot be restored any more: ${id}\n`)
  const sum = dryRun ? '' : `${backups.length} backups, ${objects} objects, ${sizeText(bytes)}\n`
  return [...names, ...lost, sum].join('')
}
