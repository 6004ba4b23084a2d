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
export type Verdict = 'right' | 'wrong' | 'refused' | 'refused-first'

export class LoginThrottle {
  readonly #clock: Clock
  readonly #entries = new Map<string, Entry>()
  readonly #told = new WeakSet<Entry>()
  /** The last attempt of each user and address that is under way. */
  readonly #turns = new Map<string, Promise<Verdict>>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** For tests: what it remembers is bounded. */
  get size(): number {
    return this.#entries.size
  }

  /**
   * Looks at an attempt when it is its turn: those for one user from one address come one after the
   * other, so that many at a time bring no more than few. Who would wait for too long is refused.
   */
  async attempt(address: string, user: string, isRight: () => Promise<boolean>): Promise<Verdict> {
    const [key] = keysOf(address, user)
    const givenUpMs = this.#clock.monotonicMs() + waitMaxMs
    const look = () => this.#look(address, user, givenUpMs, isRight)
    const turn = (this.#turns.get(key) ?? Promise.resolve()).then(look, look)
    this.#turns.set(key, turn)
    try {
      return await turn
    } finally {
      if (this.#turns.get(key) === turn) this.#turns.delete(key)
    }
  }

  async #look(
    address: string,
    user: string,
    givenUpMs: number,
    isRight: () => Promise<boolean>,
  ): Promise<Verdict> {
    const keys = keysOf(address, user)
    const nowMs = this.#clock.monotonicMs()
    const entries = keys.flatMap(key => this.#find(key, nowMs) ?? [])
    const startMs = Math.max(nowMs, ...entries.map(entry => entry.nextMs))
    if (startMs > givenUpMs) {
      const isFirst = entries.some(entry => !this.#told.has(entry))
      for (const entry of entries) this.#told.add(entry)
      return isFirst ? 'refused-first' : 'refused'
    }
    for (const entry of entries) entry.nextMs = Math.max(entry.nextMs, startMs + pauseMs(entry))
    if (startMs > nowMs) {
      await new Promise<void>(resolve => void this.#clock.after(startMs - nowMs, resolve))
    }
    if (await isRight()) {
      // Failures from the address for other users go on counting.
      this.#entries.delete(keys[0])
      return 'right'
    }
    this.#count(keys[0], freeFailuresOfUser)
    this.#count(keys[1], freeFailuresOfAddress)
    return 'wrong'
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

  #count(key: string, freeFailures: number): void {
    const nowMs = this.#clock.monotonicMs()
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
