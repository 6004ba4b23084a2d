import { readFileSync } from 'node:fs'
import { readKeyFile, type Secret } from '../backup/archive/repository-key.ts'
import { BackupError } from '../backup/errors.ts'
import type { ObjectStore } from '../backup/index.ts'
import { openStore } from '../backup/store/open-store.ts'
import { untilStopped } from '../backup/until-stopped.ts'
import { clientClock } from '../client/client-clock.ts'
import type { ArchivePlace } from './archive-options.ts'
import type { Surroundings } from './surroundings.ts'

/** A passphrase is taken from the environment alone: others can see a command line. */
export function secretOf(
  { keyFile }: { keyFile?: string },
  env: NodeJS.ProcessEnv,
): Secret | undefined {
  if (keyFile !== undefined) {
    let bytes: Buffer
    try {
      bytes = readFileSync(keyFile)
    } catch (cause) {
      throw new BackupError('key', `key file: ${(cause as Error).message}`, { cause })
    }
    return { kind: 'key-file', bytes: readKeyFile(bytes) }
  }
  const text = env['HOLDFAST_PASSPHRASE']
  return text ? { kind: 'passphrase', text } : undefined
}

/** From the request to stop to the end of the process it takes a second at most. */
const stopGraceMs = 900

/**
 * Runs `work` with the store, and with a signal that the first request to stop sets off; `advice` is how
 * to go on then. Work that does not end soon is left behind: whatever it waits for may take minutes.
 */
export async function withStore<T>(
  place: ArchivePlace,
  world: Surroundings,
  work: (store: ObjectStore, signal: AbortSignal) => Promise<T>,
  advice = 'run it again',
): Promise<T> {
  const stopping = new AbortController()
  const { signal } = stopping
  const message = `stopped on request; ${advice}`
  world.onStop(() => stopping.abort(new BackupError('interrupted', message)))
  const { rateLimit, requestLimit } = place
  const limits = { bytesPerSecond: rateLimit, requestsPerSecond: requestLimit }
  const store = await openStore(place.archive, { ...place, ...limits })
  try {
    const waiting = { signal, clock: clientClock, graceMs: stopGraceMs }
    return await untilStopped(work(store, signal), waiting)
  } finally {
    await store.close()
  }
}

/** What to say of work that goes on later. */
export const resumeAdvice = '--resume goes on from here'
