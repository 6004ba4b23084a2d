import { restore } from '../backup/index.ts'
import { secretOf, withStore, type ArchiveOptions } from './archive-options.ts'
import { accessOf, type Target } from './command-options.ts'
import { StatusLine } from './status-line.ts'
import { durationText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface RestoreCommandOptions extends Target, ArchiveOptions {
  backup?: string
  force?: boolean
  threads: number
  json?: boolean
}

export async function restoreBucket(
  options: RestoreCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, backup, bucket, force = false, threads, json = false } = options
  const line = new StatusLine(world.stderr)
  const startedMs = performance.now()
  try {
    const result = await withStore(options, world, (store, signal) =>
      restore({
        store,
        repository: repo,
        backup,
        target: { bucket, ...accessOf(options, world.env) },
        secret: secretOf(options, world.env),
        force,
        threads,
        signal,
        report: progress => {
          if (json) world.stdout.write(`${JSON.stringify(progress)}\n`)
          else line.show(`${progress.applied + progress.skipped} of ${progress.total} changes`)
        },
      }),
    )
    line.end()
    const { applied, skipped, backups } = result
    const seconds = (performance.now() - startedMs) / 1000
    const text =
      `${backups.at(-1)!}: ${applied} changes applied, ${skipped} skipped as the bucket has them ` +
      `or newer ones, ${durationText(seconds)}\n`
    world.stdout.write(json ? `${JSON.stringify({ type: 'complete', ...result })}\n` : text)
  } finally {
    line.end()
  }
}
