/**
 * Time, handed in. Everything below `daemon.ts` asks a `Clock`, so that expiry, the reaper and the
 * purger are tested by moving a clock instead of by waiting.
 */
export interface Clock {
  /** Milliseconds since the epoch; may step backwards when the machine's clock is set. */
  nowMs(): number
  /** Milliseconds from an arbitrary start; never steps backwards. */
  monotonicMs(): number
  /** Runs `callback` once after `delayMs`; the timer never keeps the process alive. */
  after(delayMs: number, callback: () => void): Timer
  /** Runs `callback` every `intervalMs`; the timer never keeps the process alive. */
  every(intervalMs: number, callback: () => void): Timer
}

export interface Timer {
  /** Idempotent. */
  cancel(): void
}

export const systemClock: Clock = {
  nowMs: () => Date.now(),
  monotonicMs: () => performance.now(),
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
  every(intervalMs, callback) {
    const handle = setInterval(callback, intervalMs)
    handle.unref()
    return { cancel: () => clearInterval(handle) }
  },
}
