/** A million documents, streamed while they are created, updated and deleted. */
import t, { type Test } from 'tap'
import { DcpClient, type DcpClientOptions, type KvClient } from '../../src/client/index.ts'
import { connectKv } from '../integration/clients.ts'
import { metric } from '../resume/metric.ts'
import { seedOf } from '../resume/seed.ts'
import { until } from '../resume/until.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { CheckedCopy } from './checked-copy.ts'
import { DocumentWriter, keyOf, revisionOf } from './document-writer.ts'

t.setTimeout(5 * 60_000)

t.test('a copy made of a stream of a million documents is what the bucket is', async t => {
  // What is there before is more than the daemon keeps in memory.
  const { backfills } = await streams(t, { documents: 1_000_000, before: 700_000 })
  t.ok(backfills > 0, 'some came from disk')
})

t.test('so is one of a slow consumer, whose streams return to the disk', async t => {
  const few = ['--vbuckets', '16', '--change-log', '1MiB', '--backfill-slab', '16KiB']
  const { backfills } = await streams(t, {
    documents: 100_000,
    before: 20_000,
    // Without gathering: what waits for its commit is in memory, however little the log keeps.
    flags: [...few, '--commit-interval', '0'],
    client: { bufferBytes: 128 * 1024 },
    // More than the change log holds.
    lag: 14_000,
  })
  t.ok(backfills > 2 * 16, `${backfills} backfills of 16 vbuckets`)
})

interface Workload {
  documents: number
  /** How many of them are there when the stream is opened. */
  before: number
  flags?: readonly string[]
  client?: Partial<DcpClientOptions>
  /** The consumer rests until it is so many changes behind, catches up, rests again. */
  lag?: number
}

async function streams(t: Test, workload: Workload): Promise<{ backfills: number }> {
  const { documents, before, flags = [], lag = 0 } = workload
  const random = seededRandom(seedOf(t))
  const daemon = await startDaemon(t, { flags })
  const kv = await connectKv(t, daemon)
  const writer = new DocumentWriter(kv, documents, random)
  const watch = new StopWatch(t)
  await writer.createUpTo(before, { updates: 0.05, deletes: 0.05 })
  watch.say(`${before} documents created`)

  const isWriting = () => writer.created < documents
  const behind = () => writer.answered - copy.progress
  const copy = new CheckedCopy(documents, async () => {
    if (behind() > lag / 8) return
    await until(() => behind() >= lag || !isWriting(), 'more written', 60_000)
  })
  const client = await DcpClient.connect({ ...workload.client, port: daemon.port, name: 'copy' })
  t.teardown(() => client.close())
  const followed = copy.follow(client)
  await writer.createUpTo(documents, { updates: 0.5, deletes: 0.3 })
  const changesDuringWrites = copy.changes
  watch.say(`all written, ${changesDuringWrites} changes received meanwhile`)
  const highSeqnos = await kv.allVbSeqnos()
  await Promise.race([
    until(() => copy.hasReached(highSeqnos), 'everything received', 120_000),
    followed,
  ])
  watch.say(`${copy.changes} changes received in ${copy.snapshots} snapshots`)
  const { rollbacks, reconnects } = client.statistics()
  const backfills = (await metric(daemon))('holdfast_dcp_backfills_total')
  await client.close({ release: true })
  await followed

  t.same(copy.problems, [])
  t.same(copy.table.differences(writer.table), [])
  t.same({ rollbacks, reconnects }, { rollbacks: 0, reconnects: 0 })
  t.ok(changesDuringWrites > 0, 'it was streamed while it was written')
  t.ok(copy.deletions > 0, 'and some were deletions')
  await compareStatistics(t, kv, copy, writer)
  await compareDocuments(t, kv, writer, random)
  watch.say('compared')
  t.equal(await daemon.stop(), 0)
  t.notOk(daemon.stderr.some(line => line.includes('"level":"error"')))
  return { backfills }
}

/** What the bucket says of itself: seqnos and counts of each vbucket. */
async function compareStatistics(
  t: Test,
  kv: KvClient,
  copy: CheckedCopy,
  { table }: DocumentWriter,
): Promise<void> {
  t.same([...copy.seqnos()].toSorted(byVbid), [...(await kv.allVbSeqnos())].toSorted(byVbid))
  const general = await kv.stats()
  t.equal(Number(general.get('curr_items')), table.live)
  t.equal(Number(general.get('ep_tombstones')), table.deleted)
  const details = await kv.stats('vbucket-details')
  const wrong = [...copy.liveDocuments()].filter(
    ([vbid, live]) => Number(details.get(`vb_${vbid}:num_items`)) !== live,
  )
  t.same(wrong, [], 'documents of each vbucket')
}

/** What the bucket answers for documents taken at random. */
async function compareDocuments(
  t: Test,
  kv: KvClient,
  { table }: DocumentWriter,
  random: () => number,
): Promise<void> {
  const any = () => Math.floor(random() * table.seqnos.length)
  const chosen = Array.from({ length: 10_000 }, any)
  const wrong: string[] = []
  const compare = async (index: number) => {
    const document = await kv.get(keyOf(index))
    const revision = document === undefined ? 0 : revisionOf(index, document.value)
    if (revision !== table.revisions[index]) wrong.push(`${keyOf(index)}: revision ${revision}`)
  }
  await Promise.all(chosen.map(index => compare(index)))
  t.same(wrong, [])
}

function byVbid([one]: readonly [number, number], [other]: readonly [number, number]): number {
  return one - other
}

/** Tells in the test's output what took how long. */
class StopWatch {
  readonly #t: Test
  #sinceMs = performance.now()

  constructor(t: Test) {
    this.#t = t
  }

  say(what: string): void {
    const nowMs = performance.now()
    this.#t.comment(`${what}: ${((nowMs - this.#sinceMs) / 1000).toFixed(1)} s`)
    this.#sinceMs = nowMs
  }
}
