import type { Benchmark, Context, Outcome } from '../benchmark.ts'
import { benchmarkDaemon, vbucketCount, type Daemon } from '../daemon.ts'
import { DcpClient } from '../dcp-client.ts'
import { beginning, type Position } from '../dcp-requests.ts'
import { fill } from '../load/load-driver.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { median, ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
const windowBytes = 20 * 2 ** 20
const kinds = ['fresh', 'resumed'] as const
type Kind = (typeof kinds)[number]

export const benchmark: Benchmark = {
  name: 'resume',
  about:
    'Time from connecting to the first document: coming back in the middle of a snapshot, against a fresh stream request',
  needs: ['cc'],
  minutes: 3,
  run,
}

interface Scene {
  readonly streams: number
  /** How often it is done in a round, of which the median counts. */
  readonly times: number
  /** Documents after which the link is cut, of those that all its streams have. */
  readonly share: number
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 100_000 : 1_000_000
  const rounds = roundsOf(context)
  const scenes: readonly Scene[] = [
    { streams: 1, times: context.quick ? 5 : 50, share: 0.5 },
    // No more than the window lets through.
    { streams: vbucketCount, times: context.quick ? 2 : 10, share: 0.03 },
  ]
  context.progress(`storing ${documents} documents of ${valueBytes} B`)
  const first = await benchmarkDaemon(context)
  await fill(first, { keys: documents, valueBytes })
  await first.stop()
  // Started anew, so that nothing of them is in memory.
  const daemon = await benchmarkDaemon(context, { data: first.data })
  const rows = []
  const verdicts = []
  for (const { streams, times, share } of scenes) {
    const cutAfter = Math.floor(((documents * streams) / vbucketCount) * share)
    const one = (name: string) => firstDocumentMs(daemon, name, streams, cutAfter)
    await one('warm-up')
    const measured = await inTurns(rounds, kinds, async (kind, round) => {
      const all: number[] = []
      for (let time = 1; time <= times; time++) {
        all.push((await one(`${kind}-${streams}-${round}-${time}`))[kind])
      }
      const ms = median(all)
      context.progress(`round ${round}, ${streams} streams, ${kind}: ${ms.toFixed(2)} ms`)
      return ms
    })
    for (const kind of kinds) {
      rows.push({
        streams: `${streams}`,
        connection: kind,
        'ms to the first document': spreadOf(measured[kind]),
      })
    }
    const figure = `${streams} streams: resumed / fresh`
    verdicts.push(ratio(figure, measured.resumed, measured.fresh, { atMost: 1.2 }))
  }
  const settings = { documents, valueBytes, rounds }
  return { settings, rows, plot: 'ms to the first document', verdicts }
}

/** Streams from the beginning, is cut in the middle, comes back: both times. */
async function firstDocumentMs(
  daemon: Daemon,
  name: string,
  streams: number,
  cutAfter: number,
): Promise<Record<Kind, number>> {
  const from = new Map(Array.from({ length: streams }, (_, vbid) => [vbid, beginning]))
  const fresh = await connected(daemon, name, from, cutAfter)
  await fresh.client.until(client => client.documents >= cutAfter)
  fresh.client.cut()
  const resumed = await connected(daemon, name, fresh.client.positions)
  await resumed.client.leave()
  return { fresh: fresh.ms, resumed: resumed.ms }
}

async function connected(
  { port }: Daemon,
  name: string,
  from: ReadonlyMap<number, Position>,
  documentsMax = Infinity,
): Promise<{ readonly client: DcpClient; readonly ms: number }> {
  const wanted = {
    port,
    name,
    from,
    resume: 'true',
    windowBytes,
    acknowledges: false,
    documentsMax,
  }
  const client = new DcpClient(wanted)
  const started = performance.now()
  const opening = client.open()
  const isThere = () => client.documents > 0
  // A document may come before the last stream is open; a refusal ends the wait.
  await Promise.race([client.until(isThere), opening.then(() => client.until(isThere))])
  await opening
  return { client, ms: client.firstDocumentMs - started }
}
