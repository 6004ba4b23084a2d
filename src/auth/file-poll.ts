import { stat } from 'node:fs/promises'
import type { Clock, Timer } from '../clock.ts'

const pollMs = 1_000

/**
 * Tells when files have been replaced or changed. It looks at them now and then rather than being
 * notified: that works on every file system, and with files that are links to what is swapped.
 */
export class FilePoll {
  readonly #paths: readonly string[]
  readonly #onChange: () => void
  readonly #timer: Timer
  #seen: Promise<string>
  #looking = false
  #closed = false

  constructor(paths: readonly string[], clock: Clock, onChange: () => void) {
    this.#paths = paths
    this.#onChange = onChange
    this.#seen = this.#look()
    this.#timer = clock.every(pollMs, () => void this.#compare())
  }

  close(): void {
    this.#closed = true
    this.#timer.cancel()
  }

  async #compare(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const before = await this.#seen
    this.#seen = this.#look()
    const now = await this.#seen
    this.#looking = false
    if (now !== before && !this.#closed) this.#onChange()
  }

  async #look(): Promise<string> {
    const states = this.#paths.map(async path => {
      try {
        const { ino, size, mtimeMs } = await stat(path)
        return `${ino} ${size} ${mtimeMs}`
      } catch (error) {
        return (error as NodeJS.ErrnoException).code
      }
    })
    return (await Promise.all(states)).join('\n')
  }
}
