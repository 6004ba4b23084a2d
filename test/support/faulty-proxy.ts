import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { FaultyLink } from './faulty-proxy-link.ts'

/**
 * A TCP proxy on 127.0.0.1 that breaks what it carries, on purpose and repeatably.
 *
 * Every connection gets a list of faults from `plan`, each due after so many bytes on the way to
 * the client or after so many milliseconds. All randomness comes from `seed`, and each connection
 * draws from a generator of its own, so that connection 7 of seed 3 breaks at the same byte in
 * every run, however the connections before it were interleaved.
 *
 *     client <──toClient── [ link ] <── server
 *     client ──toServer──> [ link ] ──> server
 *
 *   cut        both sides get a reset
 *   half-open  the client gets a reset; the server side stays open, unread, and is told nothing
 *   stall      nothing is forwarded for `durationMs`, then all goes on
 *   trickle    `bytesPerTick` every `tickMs`, for `durationMs`
 */
export type FaultKind = 'cut' | 'half-open' | 'stall' | 'trickle'

export interface Fault {
  kind: FaultKind
  /** Due when exactly this many bytes of the connection went to the client. */
  afterBytes?: number
  /** Due this long after the connection was made; with neither, at once. */
  afterMs?: number
  /** How long a stall or a trickle lasts (default 50). */
  durationMs?: number
  /** What a trickle lets through, each way (default 512). */
  bytesPerTick?: number
  /** How often a trickle lets something through (default 5). */
  tickMs?: number
}

/** The faults of one connection; `connection` counts from 0. */
export type FaultPlan = (connection: number, random: () => number) => readonly Fault[]

export interface FaultyProxyOptions {
  targetPort: number
  /** Where to listen (default 0: any free port). */
  port?: number
  seed?: number
  plan?: FaultPlan
}

export interface ProxyCounters {
  connections: number
  bytesToClient: number
  bytesToServer: number
  cut: number
  'half-open': number
  stall: number
  trickle: number
}

export class FaultyProxy {
  readonly counters: ProxyCounters = {
    connections: 0,
    bytesToClient: 0,
    bytesToServer: 0,
    cut: 0,
    'half-open': 0,
    stall: 0,
    trickle: 0,
  }
  /** Changed at will; holds for the connections made from then on. */
  targetPort: number
  plan: FaultPlan
  readonly #seed: number
  readonly #server: Server
  readonly #links = new Set<FaultyLink>()

  static async start(options: FaultyProxyOptions): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(options)
    await new Promise<void>((resolve, reject) => {
      proxy.#server.once('error', reject)
      proxy.#server.listen(options.port ?? 0, '127.0.0.1', resolve)
    })
    return proxy
  }

  private constructor(options: FaultyProxyOptions) {
    this.targetPort = options.targetPort
    this.plan = options.plan ?? (() => [])
    this.#seed = options.seed ?? 1
    this.#server = createServer({ pauseOnConnect: true, allowHalfOpen: true }, client =>
      this.#accept(client),
    )
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Links that still forward; half-open ones do not. */
  get liveConnections(): number {
    return [...this.#links].filter(link => link.forwarding).length
  }

  /** Resets both sides of every connection that forwards. */
  cutNow(): void {
    this.#strike({ kind: 'cut' })
  }

  /** Resets the clients and leaves the server believing in its connections. */
  halfOpenNow(): void {
    this.#strike({ kind: 'half-open' })
  }

  /** Forwards nothing for `durationMs`. */
  stallNow(durationMs: number): void {
    this.#strike({ kind: 'stall', durationMs })
  }

  /** Cuts what a half-open fault left open, as a server's keep-alive would in the end. */
  dropHalfOpen(): void {
    for (const link of this.#links) if (!link.forwarding) link.destroy()
  }

  /** Ends every connection, half-open ones too, and stops listening. */
  async close(): Promise<void> {
    for (const link of this.#links) link.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }

  #strike(fault: Fault): void {
    for (const link of this.#links) if (link.forwarding) link.apply(fault)
  }

  #accept(client: Socket): void {
    const number = this.counters.connections++
    const faults = this.plan(number, seededRandom(this.#seed * 1_000_003 + number))
    const link = new FaultyLink(client, this.targetPort, faults, this.counters)
    this.#links.add(link)
    link.onClosed = () => this.#links.delete(link)
  }
}

export interface RandomFaultOptions {
  /** Bytes to the client before the first fault and between faults, uniformly drawn. */
  everyBytes: readonly [least: number, most: number]
  kinds: readonly FaultKind[]
  /** How many faults a connection gets at most; a cut or half-open one is its last anyway. */
  perConnection?: number
  /** How long stalls and trickles last, uniformly drawn (default 1 to 30). */
  durationMs?: readonly [least: number, most: number]
}

/** A plan of faults at random points. */
export function randomFaults(options: RandomFaultOptions): FaultPlan {
  const between = (range: readonly [number, number], random: () => number) =>
    range[0] + Math.floor(random() * (range[1] - range[0] + 1))
  return (_connection, random) => {
    const faults: Fault[] = []
    let afterBytes = 0
    for (let count = options.perConnection ?? 4; count > 0; count--) {
      afterBytes += between(options.everyBytes, random)
      const kind = options.kinds[Math.floor(random() * options.kinds.length)]!
      faults.push({ kind, afterBytes, durationMs: between(options.durationMs ?? [1, 30], random) })
      if (kind === 'cut' || kind === 'half-open') break
    }
    return faults
  }
}

/** Numbers in [0, 1) that depend on `seed` alone (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
