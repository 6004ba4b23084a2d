/**
 * The network between the tool and the daemon is cut again and again, every connection at once, while
 * documents are changed and deleted and the purger runs without pause.
 */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { Repository } from '../../src/backup/repository.ts'
import { restore } from '../../src/backup/restore/restore.ts'
import { backUp } from '../../src/backup/run/backup.ts'
import type { BackupEvent } from '../../src/backup/run/context.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { metric } from '../resume/metric.ts'
import { seedOf } from '../resume/seed.ts'
import { FaultyProxy, seededRandom } from '../support/faulty-proxy.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { documentsOf } from './scene.ts'

t.setTimeout(120_000)
const seed = seedOf(t)

const vbuckets = 8
const documents = 24_000
/** Of each round of changes, while the backup runs; one in four deletes. */
const changesAtATime = 100
const cutEveryBytes = [30_000, 120_000] as const
const flags = [
  ['--vbuckets', String(vbuckets)],
  ['--change-log', '1MiB'],
  ['--backfill-slab', '32KiB'],
  ['--purge-age', '0'],
  ['--purge-interval', '50ms'],
  // Nothing holds the purger back: what the stream reads from is all that protects it.
  ['--purge-hold-max', '0'],
].flat()

/** A bucket that is changed all the time, and what was in it at any seqno. */
class ChangingBucket {
  readonly client: KvClient
  readonly #random: () => number
  readonly #changes: { vbid: number; seqno: number; key: string; value: string | undefined }[] = []
  #revision = 0
  #running: Promise<void> | undefined
  #stopped = false

  constructor(client: KvClient, random: () => number) {
    this.client = client
    this.#random = random
  }

  async load(): Promise<void> {
    for (let from = 0; from < documents; from += 500)
      await Promise.all(Array.from({ length: 500 }, (_, index) => this.#set(from + index)))
  }

  start(): void {
    this.#running = this.#run()
  }

  async stop(): Promise<void> {
    this.#stopped = true
    await this.#running
  }

  at(seqnos: ReadonlyMap<number, number>): Map<string, string> {
    const found = new Map<string, string>()
    const changes = this.#changes.filter(({ vbid, seqno }) => seqno <= seqnos.get(vbid)!)
    for (const { key, value } of changes.sort((one, other) => one.seqno - other.seqno))
      if (value === undefined) found.delete(key)
      else found.set(key, value)
    return found
  }

  async #run(): Promise<void> {
    while (!this.#stopped) {
      await Promise.all(
        Array.from({ length: changesAtATime }, (_, index) => {
          const number = Math.floor(this.#random() * documents)
          return index % 4 === 0 ? this.#remove(number) : this.#set(number)
        }),
      )
      await new Promise(resolve => setTimeout(resolve, 10))
    }
  }

  async #set(number: number): Promise<void> {
    const key = `key-${number}`
    const value = `${++this.#revision} `.padEnd(300, `${this.#random()} `)
    const { token } = await this.client.set(key, value)
    this.#changes.push({ vbid: this.client.vbucketOf(key), seqno: token!.seqno, key, value })
  }

  async #remove(number: number): Promise<void> {
    const key = `key-${number}`
    // It may have been removed before.
    const found = await this.client.remove(key).catch(() => undefined)
    if (!found) return
    const vbid = this.client.vbucketOf(key)
    this.#changes.push({ vbid, seqno: found.token!.seqno, key, value: undefined })
  }
}

/** Cuts every connection whenever so many bytes have come through, until it is stopped. */
async function keepCutting(proxy: FaultyProxy, random: () => number, signal: AbortSignal) {
  const [least, most] = cutEveryBytes
  let cuts = 0
  let dueBytes = least
  while (!signal.aborted) {
    if (proxy.counters.bytesToClient >= dueBytes) {
      if (cuts++ % 3 === 2) proxy.halfOpenNow()
      else proxy.cutNow()
      dueBytes = proxy.counters.bytesToClient + least + Math.floor(random() * (most - least))
    }
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  return cuts
}

interface Scene {
  daemon: DaemonProcess
  bucket: ChangingBucket
  store: FileStore
  events: BackupEvent[]
  /** A backup over the bad network; resolves with how often it was cut. */
  backUp: () => Promise<number>
}

async function scene(t: Test, more: readonly string[] = []): Promise<Scene> {
  const daemon = await startDaemon(t, { flags: [...flags, ...more] })
  const client = await KvClient.connect({ port: daemon.port })
  const random = seededRandom(seed)
  const bucket = new ChangingBucket(client, random)
  await bucket.load()
  const proxy = await FaultyProxy.start({ targetPort: daemon.port, seed })
  bucket.start()
  const stop = new AbortController()
  t.teardown(async () => {
    stop.abort()
    await bucket.stop()
    client.destroy()
    await proxy.close()
  })
  const folder = t.testdir()
  const store = new FileStore(join(folder, 'archive'))
  const events: BackupEvent[] = []
  const run = async () => {
    const cutting = keepCutting(proxy, random, stop.signal)
    try {
      await backUp({
        store,
        repository: 'r',
        source: { host: '127.0.0.1', port: proxy.port, bucket: 'default' },
        stagingRoot: join(folder, 'staging'),
        threads: 2,
        segmentBytes: 128 * 1024,
        signal: new AbortController().signal,
        report: event => events.push(event),
      })
    } finally {
      stop.abort()
      await Promise.all([cutting, bucket.stop()])
    }
    return await cutting
  }
  return { daemon, bucket, store, events, backUp: run }
}

t.test('a full backup comes to its end by itself, and goes back nowhere', async t => {
  const { daemon, bucket, store, events, backUp } = await scene(t)
  const cuts = await backUp()
  const page = await metric(daemon)
  const purged = page('holdfast_bucket_purged_total')
  t.comment(`${cuts} cuts, ${purged} tombstones purged`)
  t.ok(cuts > 10, 'the network was cut again and again')
  t.ok(purged > 0, 'meanwhile the purger ran')
  t.equal(page('holdfast_dcp_rollbacks_total'), 0, 'no rollback')
  t.ok(Number((await bucket.client.stats('parked')).get('resumed')) > 0, 'streams went on')

  const repository = await Repository.open(store, 'r')
  const [backup, ...others] = await repository.backups()
  t.match([backup?.document, ...others], [{ type: 'full', vbuckets }])
  const manifest = await repository.manifest(backup!.document!, undefined)
  const { mutation, deletion } = backup!.document!.counts
  const received = events.filter(event => event.type === 'progress').at(-1)?.records
  // A vbucket that had begun again would have brought its first changes a second time.
  t.equal(received, mutation + deletion)
  t.same(
    events.filter(event => event.type === 'vbucket'),
    [],
  )

  await bucket.client.createBucket('restored')
  const stagingRoot = join(t.testdirName, 'restoring')
  mkdirSync(stagingRoot)
  await restore({
    stagingRoot,
    store,
    repository: 'r',
    target: { host: '127.0.0.1', port: daemon.port, bucket: 'restored' },
    signal: new AbortController().signal,
    report: () => {},
  })
  const restored = await documentsOf(daemon.port, 'restored')
  const values = [...restored].map(
    ([key, { value }]) => [key, Buffer.from(value, 'base64').toString()] as const,
  )
  const expected = bucket.at(new Map(manifest.vbuckets.map(({ vbid, seqno }) => [vbid, seqno])))
  t.strictSame(new Map(values), expected)
})

t.test('the same without kept backfills asks for a rollback', async t => {
  const { daemon, backUp } = await scene(t, ['--backfill-grace', '0'])
  await t.rejects(backUp(), { code: 'rollback' })
  const page = await metric(daemon)
  t.ok(page('holdfast_dcp_rollbacks_total') > 0)
})
