import { checkStore, type ProbeEvent, type StoreCheckResult } from '../backup/check/check-store.ts'
import { withStore } from './archive-access.ts'
import type { ArchivePlace } from './archive-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { Surroundings } from './surroundings.ts'

export interface StorageCheckOptions extends ArchivePlace {
  timeout: number
  json?: boolean
}

/** Tries what backups need of the archive's store. */
export async function checkStorage(
  options: StorageCheckOptions,
  world: Surroundings,
): Promise<void> {
  const { timeout, json = false } = options
  const report = (event: ProbeEvent) =>
    world.stdout.write(json ? `${JSON.stringify(event)}\n` : rowOf(event))
  const result = await withStore(options, world, (store, signal) =>
    checkStore({ store, timeoutMs: timeout * 1000, signal, report }),
  )
  world.stdout.write(json ? `${JSON.stringify({ type: 'complete', ...result })}\n` : textOf(result))
  if (result.failed > 0)
    throw new CommandError(
      ExitCode.unsuitable,
      `the store cannot do what backups need: ${result.failed} probes failed`,
    )
}

function rowOf({ name, result, message, ms }: ProbeEvent): string {
  const time = `${ms} ms`.padStart(9)
  return `${result.padEnd(7)}  ${name.padEnd(13)}  ${time}  ${message.replace(/\s+/g, ' ')}\n`
}

function textOf({ ok, limited, failed, left }: StoreCheckResult): string {
  const counts = `${ok} ok, ${limited} limited, ${failed} failed\n`
  return left.map(key => `left behind: ${key}\n`).join('') + counts
}
