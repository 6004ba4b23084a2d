import { readFileSync } from 'node:fs'
import type { Test } from 'tap'

const MiB = 2 ** 20

/** Memory that a process holds of its own, in MiB: without the pages of files that it has mapped. */
export function ownMemoryMiB(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)![1])
  return ((kilobytes('RssAnon') + kilobytes('RssShmem')) * 1024) / MiB
}

/** The most that `ownMemoryMiB` showed between its making and `stop`. */
export class MemoryWatch {
  peakMiB = 0
  readonly #timer: NodeJS.Timeout

  constructor(t: Test, pid: number) {
    this.peakMiB = ownMemoryMiB(pid)
    this.#timer = setInterval(() => {
      this.peakMiB = Math.max(this.peakMiB, ownMemoryMiB(pid))
    }, 20)
    t.teardown(() => clearInterval(this.#timer))
  }

  stop(): number {
    clearInterval(this.#timer)
    return this.peakMiB
  }
}
