import type { Clock } from '../clock.ts'
import { pause } from './pause.ts'

/**
 * Waits for `work`; but when `signal` says to stop, only for `graceMs` more, and rejects with its
 * reason: whoever wants to stop does not wait for a slow link. `onGivenUp` is called if the work goes
 * on behind our back.
 */
export async function untilStopped<T>(
  work: Promise<T>,
  options: { signal: AbortSignal; clock: Clock; graceMs: number; onGivenUp?: () => void },
): Promise<T> {
  const { signal, clock, graceMs, onGivenUp } = options
  const done = new AbortController()
  const stop = new Promise<never>((_resolve, reject) => {
    const giveUp = async () => {
      await pause(clock, graceMs, done.signal)
      if (done.signal.aborted) return
      onGivenUp?.()
      reject(signal.reason as Error)
    }
    if (signal.aborted) void giveUp()
    else signal.addEventListener('abort', () => void giveUp(), { signal: done.signal })
  })
  try {
    return await Promise.race([work, stop])
  } finally {
    done.abort()
    work.catch(() => {})
  }
}
