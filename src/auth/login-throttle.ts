/**
 * Slows down who tries passwords. After a few failures, logins of one user from one address are let
 * through one at a time, with pauses that double; those from one address for whatever users, too,
 * after more of them. Another address is not slowed: nobody can lock out a user from elsewhere.
 */
import { isIPv6 } from 'node:net'
import type { Clock } from '../clock.ts'

/** Failures that cost nothing: of a user from an address, and from an address in all. */
const freeFailuresOfUser = 3
const freeFailuresOfAddress = 20
const firstPauseMs = 100
const longestPauseMs = 5_000
/** Who would have to wait for longer is refused at once. */
const waitMaxMs = 10_000
/** Failures are forgotten after this without another one. */
const memoryMs = 5 * 60_000
/** Entries kept; past it the one that was looked at longest ago goes. */
const entriesMax = 10_000

interface Entry {
  failures: number
  /** When the next attempt may be looked at. */
  nextMs: number
  lastFailureMs: number
  readonly freeFailures: number
}

/** `refused-first`: the first refusal of its kind since a failure. */
export type Admission = 'admitted' | 'refused' | 'refused-first'

export class LoginThrottle {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  readonly #told = new WeakSet<Entry>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** For tests: what it remembers is bounded. */
  get size(): number {
    return this.#entries.size
  }

  /** Resolves when the attempt may be looked at, or at once if that would take too long. */
  async admit(address: string, user: string): Promise<Admission> {
    const nowMs = this.#clock.monotonicMs()
    const entries = keysOf(address, user).flatMap(key => this.#find(key, nowMs) ?? [])
    const startMs = Math.max(nowMs, ...entries.map(entry => entry.nextMs))
    if (startMs - nowMs > waitMaxMs) {
      const isFirst = entries.some(entry => !this.#told.has(entry))
      for (const entry of entries) this.#told.add(entry)
      return isFirst ? 'refused-first' : 'refused'
    }
    for (const entry of entries) entry.nextMs = Math.max(entry.nextMs, startMs + pauseMs(entry))
    if (startMs > nowMs) {
      await new Promise<void>(resolve => void this.#clock.after(startMs - nowMs, resolve))
    }
    return 'admitted'
  }

  failed(address: string, user: string): void {
    const nowMs = this.#clock.monotonicMs()
    const [userKey, addressKey] = keysOf(address, user)
    this.#count(userKey, freeFailuresOfUser, nowMs)
    this.#count(addressKey, freeFailuresOfAddress, nowMs)
  }

  /** Those from the address for other users go on counting. */
  succeeded(address: string, user: string): void {
    this.#entries.delete(keysOf(address, user)[0])
  }

  #find(key: string, nowMs: number): Entry | undefined {
    const entry = this.#entries.get(key)
    if (entry === undefined) return undefined
    this.#entries.delete(key)
    if (nowMs - entry.lastFailureMs > memoryMs) return undefined
    // At the end again: the first is the one that was looked at longest ago.
    this.#entries.set(key, entry)
    return entry
  }

  #count(key: string, freeFailures: number, nowMs: number): void {
    const entry = this.#find(key, nowMs) ?? {
      failures: 0,
      nextMs: 0,
      lastFailureMs: 0,
      freeFailures,
    }
    entry.failures++
    entry.lastFailureMs = nowMs
    entry.nextMs = Math.max(entry.nextMs, nowMs + pauseMs(entry))
    this.#entries.set(key, entry)
    if (this.#entries.size <= entriesMax) return
    const [oldest] = this.#entries.keys()
    this.#entries.delete(oldest!)
  }
}

function pauseMs({ failures, freeFailures }: Entry): number {
  const doublings = failures - freeFailures
  if (doublings < 0) return 0
  return Math.min(firstPauseMs * 2 ** Math.min(doublings, 16), longestPauseMs)
}

function keysOf(address: string, user: string): readonly [string, string] {
  const network = networkOf(address)
  return [JSON.stringify([network, user]), network]
}

/** Whoever has one IPv6 address has 2^64 of them. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(address)
  if (mapped !== null) return mapped[1]!
  if (!isIPv6(address)) return address
  const [head = '', tail] = address.split('%')[0]!.split('::')
  const front = head.split(':').filter(Boolean)
  const back = (tail ?? '').split(':').filter(Boolean)
  const zeros = Array.from({ length: Math.max(0, 8 - front.length - back.length) }, () => '0')
  return `${[...front, ...zeros, ...back].slice(0, 4).join(':')}::/64`
}
