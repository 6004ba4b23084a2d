/** What a process has used so far, as Linux tells it. */
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

/** Linux shows processor time in these on every architecture that Node.js runs on. */
const ticksPerSecond = 100

/**
 * Of all its threads, user and system, also of those that have ended, and of child processes that
 * have: some peers do their work in those.
 */
export function processorSeconds(pid: number): number {
  const { user, system, childrenUser, childrenSystem } = timesIn(`/proc/${pid}/stat`)
  return user + system + childrenUser + childrenSystem
}

/** Of its first thread: with Node.js the one that serves clients. */
export function mainThreadSeconds(pid: number): number {
  const { user, system } = timesIn(`/proc/${pid}/task/${pid}/stat`)
  return user + system
}

function timesIn(path: string) {
  // The name of the program is in parentheses and may contain anything, spaces too.
  const fields = readFileSync(path, 'latin1').split(') ').at(-1)!.split(' ')
  const [user, system, childrenUser, childrenSystem] = fields
    .slice(11, 15)
    .map(ticks => Number(ticks) / ticksPerSecond) as [number, number, number, number]
  return { user, system, childrenUser, childrenSystem }
}

export interface Resident {
  readonly all: number
  /** What only this process has, and only swap could take away. */
  readonly anonymous: number
  /** Pages of files that are mapped: the kernel takes them back whenever it wants them. */
  readonly file: number
}

export function residentBytes(pid: number): Resident {
  const status = readFileSync(`/proc/${pid}/status`, 'latin1')
  const bytes = (name: string) =>
    Number(new RegExp(`^${name}:\\s+(\\d+) kB`, 'm').exec(status)?.[1] ?? 0) * 1024
  const shared = bytes('RssShmem')
  return { all: bytes('VmRSS'), anonymous: bytes('RssAnon') + shared, file: bytes('RssFile') }
}

const quietShare = 0.03
const lookMs = 250
/** A commit begins up to a second after the last write. */
const quietLooks = 5

/** How long to wait for quiet; shorter for processes that never are, as under a profiler. */
export const patience = { quietSecondsMax: 30 }

/**
 * Waits until a process is done with what it does behind its answers, such as commits: what is
 * measured next would share the machine with it. Gives up after a while.
 */
export async function untilQuiet(pid: number): Promise<void> {
  const end = performance.now() + patience.quietSecondsMax * 1000
  let before = processorSeconds(pid)
  for (let quiet = 0; quiet < quietLooks && performance.now() < end;) {
    await sleep(lookMs)
    const after = processorSeconds(pid)
    const isQuiet = after - before <= (quietShare * lookMs) / 1000
    quiet = isQuiet ? quiet + 1 : 0
    before = after
  }
}
