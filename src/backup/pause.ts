import type { Clock } from '../clock.ts'

/** Resolves after so long, or earlier when `signal` says that nobody waits any more. */
export function pause(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise(resolve => {
    if (signal?.aborted) {
      resolve()
      return
    }
    const end = () => {
      timer.cancel()
      signal?.removeEventListener('abort', end)
      resolve()
    }
    const timer = clock.after(delayMs, end)
    signal?.addEventListener('abort', end)
  })
}
