import type { Clock } from '../clock.ts'
import { RepositoryLock } from './lock.ts'
import type { ObjectStore } from './store/object-store.ts'

export interface LockedWorkOptions {
  readonly store: ObjectStore
  readonly repository: string
  /** What is being done, for others to read. */
  readonly work: string
  readonly clock: Clock
  /** How long to wait for another who has the lock. */
  readonly timeoutMs: number
  readonly signal: AbortSignal
}

export interface LockedWork {
  /** Set off by the caller's signal, or because the lock was taken away. */
  readonly signal: AbortSignal
  /** Throws if the lock was taken away: to be asked before anything that cannot be undone. */
  readonly verifyLock: () => Promise<void>
}

/** Runs `work` while nobody else writes in the repository. */
export async function whileLocked<T>(
  options: LockedWorkOptions,
  work: (locked: LockedWork) => Promise<T>,
): Promise<T> {
  const losing = new AbortController()
  const signal = AbortSignal.any([options.signal, losing.signal])
  const lock = await RepositoryLock.acquire({
    ...options,
    signal,
    onLost: error => losing.abort(error),
  })
  try {
    return await work({ signal, verifyLock: () => lock.verify() })
  } finally {
    // One that was taken away is not ours to remove.
    await lock.release().catch(() => {})
  }
}
