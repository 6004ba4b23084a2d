import { Guard } from './guard.ts'
import { Lane, Tally } from './lane.ts'

export interface FuzzOptions {
  readonly port: number
  readonly seed: number
  /** Connections at once. */
  readonly lanes: number
  /** It ends after so many mutated requests or so much time, whatever comes first. */
  readonly framesMax: number
  readonly timeMaxMs: number
  readonly deadlineMs: number
  /** Resolves when the daemon ends, which it must not. */
  readonly exited: Promise<number | string>
  readonly onProgress?: (tally: Tally, guard: Guard) => void
}

export interface FuzzReport {
  readonly tally: Tally
  readonly tookMs: number
  /** Of a well-behaved client beside it all: rounds of a SET and a GET, and the slowest. */
  readonly guardRounds: number
  readonly guardSlowestMs: number
  /** Why it ended early. */
  readonly failure: unknown
  /** What was sent last over each connection. */
  readonly recent: readonly (readonly Buffer[])[]
}

const progressMs = 5_000

/** For the daemon: everything that runs from time to time runs often, and what is bounded is small. */
export const fuzzFlags = [
  '--vbuckets=16 --environments=1 --buckets-max=5 --change-log=1MiB',
  '--unflushed-soft=1MiB --unflushed-hard=8MiB --map-size=1GiB',
  '--purge-age=0 --purge-interval=0.3 --expiry-pager-interval=0.3',
  '--backfill-grace=2 --parked-max=8 --parked-per-client-max=4 --backfill-slab=16KiB',
].flatMap(flags => flags.split(' '))

/**
 * Sends mutated requests to a daemon over several connections at once. The bytes of each lane
 * depend on the seed alone; how lanes interleave does not.
 */
export async function fuzz(options: FuzzOptions): Promise<FuzzReport> {
  const { port, seed, deadlineMs, framesMax, timeMaxMs } = options
  const startedMs = performance.now()
  const tally = new Tally()
  const guard = await Guard.start(port, deadlineMs)
  let failure: unknown
  const isOver = () =>
    failure !== undefined || tally.frames >= framesMax || performance.now() - startedMs >= timeMaxMs
  const lanes = Array.from(
    { length: options.lanes },
    (_, index) => new Lane({ port, seed: seed * 1000 + index, tally, deadlineMs }),
  )
  const progress = setInterval(() => options.onProgress?.(tally, guard), progressMs)
  const parts = [guard, ...lanes].map(part =>
    part.run(isOver).catch((error: unknown) => (failure ??= error)),
  )
  const ended = options.exited.then(how => {
    failure = new Error(`the daemon ended: ${how}`)
  })
  await Promise.race([Promise.all(parts), ended])
  clearInterval(progress)
  guard.close()
  return {
    tally,
    tookMs: performance.now() - startedMs,
    guardRounds: guard.rounds,
    guardSlowestMs: guard.slowestMs,
    failure,
    recent: lanes.map(lane => lane.recent),
  }
}
