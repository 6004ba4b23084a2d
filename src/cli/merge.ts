import { merge, type MergeEvent, type MergeResult } from '../backup/index.ts'
import { secretOf, withStore, type ArchiveOptions } from './archive-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { durationText, sizeText } from './sizes.ts'
import { StatusLine } from './status-line.ts'
import type { Surroundings } from './surroundings.ts'

export interface MergeCommandOptions extends ArchiveOptions {
  from?: string
  to?: string
  threads: number
  lockTimeout: number
  json?: boolean
}

export async function mergeBackups(
  options: MergeCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, from, to, threads, json = false } = options
  if (from === undefined && to === undefined)
    throw new CommandError(ExitCode.usage, '--from, --to, or both')
  const line = new StatusLine(world.stderr)
  const startedMs = performance.now()
  const seconds = () => Math.max(0.001, (performance.now() - startedMs) / 1000)
  const report = (event: MergeEvent) => {
    if (json) world.stdout.write(`${JSON.stringify(event)}\n`)
    else if (event.type === 'progress') line.show(progressText(event, seconds()))
    else {
      line.end()
      world.stderr.write(`holdfast: ${textOf(event)}\n`)
    }
  }
  try {
    const result = await withStore(
      options,
      world,
      (store, signal) =>
        merge({
          store,
          repository: repo,
          range: { from, to },
          secret: secretOf(options, world.env),
          threads,
          lockTimeoutMs: options.lockTimeout * 1000,
          signal,
          report,
        }),
      'run it again to go on from here',
    )
    line.end()
    const end = json ? `${JSON.stringify({ type: 'complete', ...result })}\n` : resultText(result)
    world.stdout.write(end)
  } finally {
    line.end()
  }
}

function progressText(event: Extract<MergeEvent, { type: 'progress' }>, seconds: number): string {
  const { vbuckets, vbucketsTotal, bytes, bytesTotal } = event
  const rate = bytes / seconds
  const left = bytes === 0 ? '' : `, ${durationText((bytesTotal - bytes) / rate)} left`
  return `${vbuckets} of ${vbucketsTotal} vbuckets, ${sizeText(rate)}/s${left}`
}

function textOf(event: Exclude<MergeEvent, { type: 'progress' }>): string {
  return event.type === 'merge' ? `merging ${event.backups.join(', ')}` : event.message
}

function resultText({ merged, backup }: MergeResult): string {
  const { mutation, deletion, expiration } = backup.counts
  return (
    `${backup.id} ${backup.type}, of ${merged.length} backups: ${mutation} mutations, ` +
    `${deletion} deletions, ${expiration} expirations; ${sizeText(backup.storedBytes)}\n`
  )
}
