import t from 'tap'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import {
  DcpClient,
  isChange,
  KvClient,
  type Change,
  type DcpEvent,
  type DcpState,
  type KvClientOptions,
} from '../../src/client/index.ts'
import { FaultyProxy, randomFaults, seededRandom } from '../support/faulty-proxy.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'

const vbucketCount = 16
const flags = ['--vbuckets', String(vbucketCount)]
const daemon = await startDaemon(t, { flags })

async function connect(to: DaemonProcess = daemon, options: KvClientOptions = {}) {
  const client = await KvClient.connect({ port: to.port, ...options })
  t.teardown(() => client.close())
  return client
}

t.test('documents', async t => {
  const client = await connect()
  t.equal(client.vbucketCount, vbucketCount)
  const stored = await client.set('doc', '{"a":1}', { flags: 7 })
  t.ok(stored.cas > 0n)
  t.ok(stored.token!.seqno > 0)
  t.match(await client.get('doc'), { value: Buffer.from('{"a":1}'), flags: 7, cas: stored.cas })
  await t.rejects(client.add('doc', 'x'), { message: /^add: keyExists/ })
  await t.rejects(client.replace('doc', 'x', { cas: 1n }), { message: /keyExists/ })
  const appended = await client.append('doc', ' ', { cas: stored.cas })
  await client.prepend('doc', ' ')
  t.equal((await client.get('doc'))!.value.toString(), ' {"a":1} ')
  t.ok(appended.cas > stored.cas)
  t.match(await client.increment('counter', { initial: 10n }), { value: 10n })
  t.match(await client.increment('counter', { delta: 5n }), { value: 15n })
  t.match(await client.decrement('counter', { delta: 20n }), { value: 0n })
  await client.touch('doc', 1000)
  t.ok((await client.getMeta('doc'))!.expiry > 1000)
  t.ok(await client.getAndTouch('doc', 0))
  t.equal((await client.getMeta('doc'))!.expiry, 0)
  const locked = (await client.getAndLock('doc', 10))!
  await t.rejects(client.set('doc', 'x'), { message: /keyExists|locked/ })
  await client.unlock('doc', locked.cas)
  await client.set('doc', 'x', { durability: 'persistToMajority' })
  const removed = await client.remove('doc')
  t.equal(await client.get('doc'), undefined)
  t.match(await client.getMeta('doc'), { isDeleted: true, cas: removed.cas })
  await client.setWithMeta('copied', 'value', { cas: 12345n, revno: 9, flags: 3 })
  t.match(await client.getMeta('copied'), { cas: 12345n, revno: 9, flags: 3, isDeleted: false })
  await client.deleteWithMeta('copied', { cas: 12346n, revno: 10 })
  t.match(await client.getMeta('copied'), { cas: 12346n, revno: 10, isDeleted: true })
})

t.test('a thousand requests on their way at once', async t => {
  const client = await connect()
  const keys = Array.from({ length: 1000 }, (_, index) => `many-${index}`)
  await Promise.all(keys.map(key => client.set(key, `value of ${key}`)))
  const documents = await Promise.all(keys.map(key => client.get(key)))
  t.same(
    documents.map(document => document!.value.toString()),
    keys.map(key => `value of ${key}`),
  )
})

t.test('what a node can be asked', async t => {
  const client = await connect()
  await client.noop()
  t.match(await client.version(), /^\d+\.\d+\.\d+/)
  t.ok((await client.stats()).has('pid'))
  const { token } = await client.set('seen', 'x')
  const vbid = client.vbucketOf('seen')
  await client.seqnoPersisted(vbid, token!.seqno)
  t.match(await client.observeSeqno(vbid, token!.vbuuid), { vbuuid: token!.vbuuid })
  t.equal((await client.failoverLog(vbid))[0]!.vbuuid, token!.vbuuid)
  t.equal((await client.allVbSeqnos(VbucketState.active)).get(vbid), token!.seqno)
  await client.setVbucketState(vbid, VbucketState.replica)
  await t.rejects(client.get('seen'), { message: /notMyVbucket/ })
  t.equal(await client.vbucketState(vbid), VbucketState.replica)
  await client.setVbucketState(vbid, VbucketState.active)
  t.ok(await client.get('seen'))
  const removed = await client.remove('seen')
  // The newest change of a vbucket is never purged.
  const newest = await client.set('not the newest any more', 'x', { vbid })
  await client.seqnoPersisted(vbid, newest.token!.seqno)
  await client.compact(vbid, { dropDeletes: true })
  const seqnos = await client.stats(`vbucket-seqno ${vbid}`)
  t.equal(seqnos.get(`vb_${vbid}:purge_seqno`), String(removed.token!.seqno))
})

t.test('buckets', async t => {
  const client = await connect()
  await client.createBucket('travel', 'flush_enabled=true')
  t.same(await client.listBuckets(), ['default', 'travel'])
  const travel = await connect(daemon, { bucket: 'travel' })
  await travel.set('only here', 'x')
  t.equal(await client.get('only here'), undefined)
  await travel.flush()
  t.equal(await travel.get('only here'), undefined)
  await client.deleteBucket('travel')
  t.same(await client.listBuckets(), ['default'])
})

/** What a consumer makes of the changes: documents, and enough of the past to go back. */
class Replica {
  readonly #log = Array.from({ length: vbucketCount }, (): Change[] => [])
  /** Where snapshots ended: only there the documents were as they once were at the server. */
  readonly #boundaries = Array.from({ length: vbucketCount }, () => [0])
  readonly #snapshotEnds = Array.from({ length: vbucketCount }, () => 0)
  changes = 0

  apply(event: DcpEvent): void {
    const { vbid } = event
    if (event.type === 'snapshot-marker') this.#snapshotEnds[vbid] = event.endSeqno
    if (!isChange(event)) return
    const last = this.highSeqno(vbid)
    if (event.seqno <= last) throw new Error(`seqno ${event.seqno} after ${last}`)
    this.#log[vbid]!.push(event)
    if (event.seqno === this.#snapshotEnds[vbid]) this.#boundaries[vbid]!.push(event.seqno)
    this.changes++
  }

  /** Goes back to `seqno`, or to what came before it and is known whole; returns where it is. */
  goBack(vbid: number, seqno: number): number {
    const boundaries = this.#boundaries[vbid]!.filter(boundary => boundary <= seqno)
    const boundary = boundaries.at(-1)!
    this.#boundaries[vbid] = boundaries
    this.#log[vbid] = this.#log[vbid]!.filter(change => change.seqno <= boundary)
    return boundary
  }

  highSeqno(vbid: number): number {
    return this.#log[vbid]!.at(-1)?.seqno ?? 0
  }

  documents(): Map<string, string> {
    const documents = new Map<string, string>()
    for (const { type, key, value } of this.#log.flat())
      if (type === 'mutation') documents.set(key.toString(), value.toString())
      else documents.delete(key.toString())
    for (const vbid of this.#log.keys()) documents.delete(markOf(vbid))
    return documents
  }

  /**
   * Takes what there is until now: a mark written to each vbucket tells. Seqnos would not do, as
   * after a crash the server may be behind the replica.
   */
  async follow(client: DcpClient, writer: KvClient): Promise<void> {
    const value = `mark ${this.changes}`
    const ahead = new Set(this.#log.keys())
    await Promise.all([...ahead].map(vbid => writer.set(markOf(vbid), value, { vbid })))
    const events = client.events()
    while (ahead.size > 0) {
      const { value: event, done } = await events.next()
      if (done) throw new Error('the stream ended')
      this.apply(event)
      if (isChange(event) && event.value.toString() === value) ahead.delete(event.vbid)
    }
  }
}

const markOf = (vbid: number) => `mark-${vbid}`

/** Sets and removes random keys; returns what should be there. */
async function churn(client: KvClient, count: number, seed: number, model: Map<string, string>) {
  const random = seededRandom(seed)
  const keys = 800
  for (let done = 0; done < count; done += 100) {
    await Promise.all(
      Array.from({ length: 100 }, async (_, index) => {
        const key = `churn-${Math.floor(random() * keys)}`
        // One operation of a key at a time, so that the model knows the order.
        if (index > 0 && random() < 0.2) return
        const value = `${seed}:${done + index}:${'.'.repeat(Math.floor(random() * 300))}`
        const removes = random() < 0.3
        await (removes ? client.remove(key).catch(() => {}) : client.set(key, value))
        model.set(key, removes ? '' : value)
      }),
    )
  }
}

async function documentsOf(client: KvClient, keys: Iterable<string>) {
  const documents = new Map<string, string>()
  for (const key of keys) {
    const document = await client.get(key)
    if (document) documents.set(key, document.value.toString())
  }
  return documents
}

const sorted = (documents: Map<string, string>) =>
  [...documents].sort(([a], [b]) => (a < b ? -1 : 1))

t.test('over a link that keeps breaking: nothing lost, nothing twice, no rollback', async t => {
  const own = await startDaemon(t, { flags })
  const writer = await connect(own)
  const model = new Map<string, string>()
  await churn(writer, 4_000, 1, model)
  const proxy = await FaultyProxy.start({
    targetPort: own.port,
    seed: 11,
    plan: randomFaults({
      everyBytes: [1_000, 16_000],
      kinds: ['cut', 'half-open', 'stall', 'trickle'],
      perConnection: 100,
    }),
  })
  t.teardown(() => proxy.close())
  const client = await DcpClient.connect({
    port: proxy.port,
    name: 'broken link',
    bufferBytes: 50_000,
    reconnect: { firstMs: 1, maxMs: 20 },
  })
  t.teardown(() => client.close())
  const replica = new Replica()
  const writing = churn(writer, 4_000, 2, model)
  await replica.follow(client, writer)
  await writing
  await replica.follow(client, writer)
  t.same(sorted(replica.documents()), sorted(await documentsOf(writer, model.keys())))
  const statistics = client.statistics()
  t.comment(JSON.stringify({ ...statistics, ...proxy.counters }))
  t.equal(statistics.rollbacks, 0)
  t.equal(statistics.changes, replica.changes)
  t.ok(statistics.reconnects >= 5, `${statistics.reconnects} reconnects`)
})

t.test('the daemon is stopped and started again', async t => {
  const first = await startDaemon(t, { flags })
  const port = ['--port', String(first.port)]
  const writer = await connect(first)
  const model = new Map<string, string>()
  await churn(writer, 500, 3, model)
  const client = await DcpClient.connect({ port: first.port, name: 'patient' })
  t.teardown(() => client.close())
  const replica = new Replica()
  await replica.follow(client, writer)
  await first.stop()
  const second = await startDaemon(t, { data: first.data, flags: [...flags, ...port] })
  const writerAgain = await connect(second)
  await churn(writerAgain, 500, 4, model)
  await replica.follow(client, writerAgain)
  t.same(sorted(replica.documents()), sorted(await documentsOf(writerAgain, model.keys())))
  t.match(client.statistics(), { rollbacks: 0, reconnects: 1 })
})

t.test('the daemon is killed: the consumer follows it back, if it has to', async t => {
  const first = await startDaemon(t, { flags })
  const port = ['--port', String(first.port)]
  const writer = await connect(first)
  const model = new Map<string, string>()
  await churn(writer, 500, 5, model)
  const replica = new Replica()
  let asked = 0
  const options = {
    port: first.port,
    name: 'replica',
    onRollback(vbid: number, seqno: number) {
      asked++
      return replica.goBack(vbid, seqno)
    },
  }
  const client = await DcpClient.connect(options)
  t.teardown(() => client.close())
  await replica.follow(client, writer)
  // What is written in the very last moment may be seen by the consumer and lost by the daemon.
  void churn(writer, 10_000, 6, model).catch(() => {})
  for await (const event of client.events()) {
    replica.apply(event)
    if (replica.changes > 600) break
  }
  await first.kill()
  const state: DcpState = client.state()
  const second = await startDaemon(t, { data: first.data, flags: [...flags, ...port] })
  const reader = await connect(second)
  await churn(reader, 500, 7, model)
  const again = await DcpClient.connect({ ...options, state })
  t.teardown(() => again.close())
  await replica.follow(again, reader)
  t.comment(`${asked} rollbacks asked for`, JSON.stringify(again.statistics()))
  t.same(sorted(replica.documents()), sorted(await documentsOf(reader, model.keys())))
})

t.test('with one stream at a time, vbuckets come one after the other', async t => {
  const client = await connect()
  const before = [...(await client.allVbSeqnos()).values()].reduce((sum, seqno) => sum + seqno, 0)
  t.ok(before > 100)
  const stream = await DcpClient.connect({
    port: daemon.port,
    name: 'one-at-a-time',
    until: 'now',
    openStreamsMax: 1,
  })
  t.teardown(() => stream.close())
  const order: number[] = []
  for await (const event of stream.events()) {
    if (event.vbid !== order.at(-1)) order.push(event.vbid)
    if (isChange(event)) t.equal(stream.position(event.vbid)?.seqno, event.seqno)
  }
  t.same(
    order,
    Array.from({ length: vbucketCount }, (_, vbid) => vbid),
  )
  t.equal(stream.position(vbucketCount), undefined)
  const seqnos = stream.state().vbuckets.map(({ seqno }) => seqno)
  t.equal(
    seqnos.reduce((sum, seqno) => sum + seqno, 0),
    before,
  )
})
