/**
 * What a client costs that streams all 1,024 vbuckets and goes away: reader slots, memory, and disk
 * until its snapshots expire. The settings are the defaults, but for the grace.
 */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { open } from 'lmdb'
import t, { type Test } from 'tap'
import { DcpClient, type DcpClientOptions, type KvClient } from '../../src/client/index.ts'
import { connectKv } from '../integration/clients.ts'
import { ownMemoryMiB } from '../integration/process-memory.ts'
import { metric } from '../resume/metric.ts'
import { until } from '../resume/until.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { SteadyUpdates } from './steady-updates.ts'

const MiB = 2 ** 20
const vbuckets = 1024
/** More than the change log holds, so that streams from the beginning come from disk. */
const documents = 50_000
const valueBytes = 1_600
const round = 4_000

t.setTimeout(5 * 60_000)

t.test('a client that was streaming 1,024 vbuckets, and is away', async t => {
  // Its memory is looked at, and the file at once after a write.
  const quick = ['--document-cache', '0', '--commit-interval', '0']
  const flags = ['--backfill-grace', '1s', ...quick]
  const daemon = await startDaemon(t, { flags })
  const kv = await connectKv(t, daemon)
  const updates = new SteadyUpdates(kv, { documents, valueBytes })
  // Twice, as what is written anew is spread over the pages in another way.
  await updates.write(2 * documents)
  let state: unknown

  t.test('costs up to 8 reader slots and 64 MiB of memory', async t => {
    updates.start()
    const memoryBefore = await settledMemoryMiB(daemon.pid)
    const slotsBefore = await readerSlots(daemon)
    const client = await streamAll(t, daemon, {
      backfillResume: { id: 'mirror', grace: 600 },
      acknowledgement: 'manual',
    })
    let count = 0
    for await (const _change of client) {
      if (++count < 1_000) continue
      state = client.state()
      break
    }
    await until(async () => (await parked(kv)).vbuckets === vbuckets, 'parked')
    const slots = (await readerSlots(daemon)) - slotsBefore
    t.ok(slots > 0 && slots <= 8, `${slots} reader slots`)
    t.equal((await metric(daemon))('holdfast_pinned_snapshots'), slots)
    // Until its garbage is collected, it may take more.
    const allowed = memoryBefore + 64
    const memory = (await settledMemoryMiB(daemon.pid, allowed)) - memoryBefore
    t.ok(memory <= 64, `${memory.toFixed(1)} MiB more than the ${memoryBefore.toFixed(1)} before`)
    t.equal((await parked(kv)).vbuckets, vbuckets, 'all the time')
    await updates.stop()
  })

  t.test('keeps the files growing under updates, until its snapshots expire', async t => {
    const growth = async (rounds: number) => {
      const before = fileBytes(daemon)
      await updates.write(rounds * round)
      return (fileBytes(daemon) - before) / MiB
    }
    const whileParked = await growth(3)
    t.ok(whileParked > 30, `${whileParked.toFixed(1)} MiB in 3 rounds of updates`)
    const { resumed } = await parked(kv)
    // It comes back, and goes again for a shorter time.
    const client = await streamAll(t, daemon, { state, backfillResume: { id: 'mirror' } })
    t.ok((await parked(kv)).resumed - resumed > vbuckets / 2, 'in the same snapshots')
    await client.close()
    await daemon.line('parked snapshots expired')
    await until(async () => (await parked(kv)).vbuckets === 0, 'expired')
    t.equal((await metric(daemon))('holdfast_pinned_snapshots'), 0)
    await growth(1)
    const afterwards = await growth(6)
    t.ok(afterwards < whileParked / 20, `${afterwards.toFixed(1)} MiB in 6 rounds afterwards`)
  })
})

/** A client of all vbuckets, once all its streams are open. */
async function streamAll(
  t: Test,
  { port }: DaemonProcess,
  options: Partial<DcpClientOptions>,
): Promise<DcpClient> {
  const client = await DcpClient.connect({
    name: 'mirror',
    requestTimeoutMs: 60_000,
    ...options,
    port,
  })
  t.teardown(() => client.close())
  await until(() => client.statistics().openStreams === vbuckets, 'all streams open', 60_000)
  return client
}

async function parked(kv: KvClient): Promise<{ vbuckets: number; resumed: number }> {
  const figures = await kv.stats('parked')
  return {
    vbuckets: Number(figures.get('parked_vbuckets')),
    resumed: Number(figures.get('resumed')),
  }
}

/** The least that was seen for two seconds, and for up to a minute while that is not `enough`. */
async function settledMemoryMiB(pid: number, enough = Infinity): Promise<number> {
  const sinceMs = performance.now()
  let least = Infinity
  for (;;) {
    least = Math.min(least, ownMemoryMiB(pid))
    const passedMs = performance.now() - sinceMs
    if (passedMs > (least <= enough ? 2_000 : 60_000)) return least
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

function environments({ data }: DaemonProcess): string[] {
  const bucket = join(data, 'buckets', 'default')
  return readdirSync(bucket)
    .filter(name => name.startsWith('environment-'))
    .map(name => join(bucket, name))
}

function fileBytes(daemon: DaemonProcess): number {
  return environments(daemon).reduce((sum, path) => sum + statSync(join(path, 'data.mdb')).size, 0)
}

/** As LMDB itself counts them: the slots that the daemon's threads and transactions have taken. */
async function readerSlots(daemon: DaemonProcess): Promise<number> {
  let slots = 0
  for (const path of environments(daemon)) {
    const environment = open({ path, noSubdir: false, readOnly: true })
    const list = environment.readerList().split('\n')
    slots += list.filter(line => line.trim().startsWith(`${daemon.pid} `)).length
    await environment.close()
  }
  return slots
}
