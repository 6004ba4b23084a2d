import { statSync, type Stats } from 'node:fs'
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
  #seen: string
  #looking = false
  #closed = false

  constructor(paths: readonly string[], clock: Clock, onChange: () => void) {
    this.#paths = paths
    this.#onChange = onChange
    // At once, so that no change from here on is missed.
    this.#seen = paths.map(path => stateNow(path)).join('\n')
    this.#timer = clock.every(pollMs, () => void this.#compare())
  }

  close(): void {
    this.#closed = true
    this.#timer.cancel()
  }

  async #compare(): Promise<void> {
    if (this.#looking) return
    this.#looking = true
    const states = this.#paths.map(path => stat(path).then(stateOf, codeOf))
    const before = this.#seen
    this.#seen = (await Promise.all(states)).join('\n')
    this.#looking = false
    if (this.#seen !== before && !this.#closed) this.#onChange()
  }
}

function stateNow(path: string): string {
  try {
    return stateOf(statSync(path))
  } catch (error) {
    return codeOf(error)
  }
}

function stateOf({ ino, size, mtimeMs }: Stats): string {
  return `${ino} ${size} ${mtimeMs}`
}

function codeOf(error: unknown): string {
  return (error as NodeJS.ErrnoException).code ?? String(error)
}
