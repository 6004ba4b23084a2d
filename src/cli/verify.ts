import { Repository, verify, type VerifyEvent } from '../backup/index.ts'
import { secretOf, withStore, type ArchiveOptions } from './archive-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface VerifyCommandOptions extends ArchiveOptions {
  backup?: string
  quick?: boolean
  sample?: number
  threads: number
  json?: boolean
}

export async function verifyBackups(
  options: VerifyCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, backup, quick, sample, threads, json = false } = options
  if (quick && sample !== undefined)
    throw new CommandError(ExitCode.usage, 'either --quick or --sample, not both')
  const report = (event: VerifyEvent) =>
    world.stdout.write(json ? `${JSON.stringify(event)}\n` : `DAMAGED ${event.message}\n`)
  const result = await withStore(options, world, async (store, signal) => {
    await Repository.open(store, repo)
    return await verify({
      store,
      repository: repo,
      backup,
      secret: secretOf(options, world.env),
      samplePercent: quick ? 0 : (sample ?? 100),
      threads,
      signal,
      report,
    })
  })
  const { backups, objects, objectsRead, records, bytesRead, damages } = result
  const text =
    `${backups} backups, ${objects} objects, of which ${objectsRead} were read: ` +
    `${records} changes, ${sizeText(bytesRead)}; ${damages} damages\n`
  world.stdout.write(json ? `${JSON.stringify({ type: 'complete', ...result })}\n` : text)
  if (damages > 0) throw new CommandError(ExitCode.damaged, `${damages} damages were found`)
}
