import { systemClock, type Clock } from '../clock.ts'

/**
 * The clock of the clients. Unlike the daemon's its one-time timers keep the process alive: someone
 * awaits what they end, such as the pause before the next attempt to connect.
 */
export const clientClock: Clock = {
  ...systemClock,
  after(delayMs, callback) {
    const handle = setTimeout(callback, delayMs)
    return { cancel: () => clearTimeout(handle) }
  },
}
