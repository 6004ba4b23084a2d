import fc from 'fast-check'
import t, { type Test } from 'tap'
import type { ArchiveRecord } from '../../src/backup/archive/record.ts'
import type { BucketAddress } from '../../src/backup/bucket-address.ts'
import { CollectionRoutes, selectCollections } from '../../src/backup/restore/collection-routes.ts'
import { DocumentSender } from '../../src/backup/restore/document-sender.ts'
import { RestoreTarget } from '../../src/backup/restore/restore-target.ts'
import { clientClock } from '../../src/client/client-clock.ts'
import { systemRandom } from '../../src/random.ts'
import type { Clock } from '../../src/clock.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { answer, ScriptedServer, type Script } from '../client/scripted-server.ts'
import { record } from './objects.ts'

/** Pauses between attempts take no time. */
const hasty: Clock = { ...clientClock, after: (_delayMs, run) => clientClock.after(0, run) }

const vbuckets = 4

/** A node that serves all vbuckets, and answers changes as the script says. */
function nodeScript(onChange: Script): Script {
  return (frame, peer) => {
    if (frame.opcode === Opcode.getClusterConfig) {
      const vBucketMap = Array.from({ length: vbuckets }, () => [0])
      const map = { rev: 1, uuid: 'u', vBucketServerMap: { serverList: ['$HOST:1'], vBucketMap } }
      peer.reply(frame, { value: JSON.stringify(map) })
      return true
    }
    const isChange = frame.opcode === Opcode.setWithMeta || frame.opcode === Opcode.delWithMeta
    return isChange ? onChange(frame, peer) : false
  }
}

async function open(
  t: Test,
  onChange: Script,
): Promise<{ server: ScriptedServer; target: RestoreTarget; sender: DocumentSender }> {
  const server = await ScriptedServer.start(t, nodeScript(onChange))
  const address: BucketAddress = { host: '127.0.0.1', port: server.port, bucket: 'b' }
  const target = await RestoreTarget.open(address)
  const { signal } = new AbortController()
  const client = await target.connect(0)
  const routes = await CollectionRoutes.open(selectCollections(undefined, {}), client, false)
  await client.close()
  const sender = new DocumentSender({
    target,
    routes,
    force: true,
    clock: hasty,
    random: systemRandom,
    signal,
  })
  t.teardown(() => {
    sender.close()
    target.close()
  })
  return { server, target, sender }
}

const nothing = () => ({ applied: 0, skipped: 0 })

t.test(
  'whatever fails for a while and wherever the link breaks, the last version stays',
  async t => {
    /** What becomes of each change, in the order of arrival; success when all are used up. */
    let fates: ('ok' | 'busy' | 'lost' | 'lost answer')[] = []
    const stored = new Map<string, string>()
    const { sender } = await open(t, (frame, peer) => {
      const fate = fates.shift() ?? 'ok'
      if (fate === 'lost') peer.reset()
      if (fate === 'lost') return true
      if (fate !== 'busy') stored.set(frame.key().toString(), frame.value().toString())
      if (fate === 'lost answer') peer.reset()
      else peer.reply(frame, { status: fate === 'busy' ? Status.temporaryFailure : Status.success })
      return true
    })
    const fate = fc.constantFrom('ok', 'ok', 'ok', 'busy', 'lost', 'lost answer')
    const property = fc.asyncProperty(
      fc.array(fc.integer({ min: 0, max: 4 }), { minLength: 1, maxLength: 30 }),
      fc.array(fate as fc.Arbitrary<(typeof fates)[number]>, { maxLength: 40 }),
      async (keys, chosen) => {
        fates = [...chosen]
        stored.clear()
        const records = keys.map((key, index) => record(index + 1, `k${key}`, `version ${index}`))
        const result = nothing()
        await sender.send(records, result)
        const wanted = new Map(keys.map((key, index) => [`k${key}`, `version ${index}`]))
        t.same(Object.fromEntries(stored), Object.fromEntries(wanted))
        t.equal(result.applied + result.skipped, records.length)
      },
    )
    await fc.assert(property, { numRuns: 100 })
  },
)

t.test(
  'what the bucket has already counts as skipped, what it takes after a failure as applied',
  async t => {
    let requests = 0
    const { sender } = await open(t, (frame, peer) => {
      const statuses = [Status.success, Status.keyExists, Status.temporaryFailure, Status.success]
      peer.reply(frame, { status: statuses[requests++] ?? Status.success })
      return true
    })
    const result = nothing()
    await sender.send([record(1, 'a', ''), record(2, 'b', ''), record(3, 'c', '')], result)
    t.same(result, { applied: 2, skipped: 1 })
    t.equal(requests, 4, 'only what had failed was sent again')
  },
)

t.test('what never passes ends it, and names the change but not its key', async t => {
  const { sender } = await open(t, (frame, peer) => {
    peer.reply(frame, { status: Status.tooLarge, value: 'Too large.' })
    return true
  })
  const sending = sender.send([record(77, 'secret', 'x')], nothing())
  await t.rejects(sending, { code: 'refused', message: /seqno 77 into vbucket \d: .*tooLarge/ })
  await sending.catch((error: Error) => t.notMatch(error.message, /secret/))
})

t.test('what could pass and does not is given up in the end', async t => {
  let requests = 0
  const { sender } = await open(t, (frame, peer) => {
    requests++
    peer.reply(frame, { status: Status.temporaryFailure })
    return true
  })
  await t.rejects(sender.send([record(1, 'a', '')], nothing()), { message: /temporaryFailure/ })
  t.equal(requests, 13)
})

t.test('a vbucket that nobody serves is named', async t => {
  const { sender, server } = await open(t, (frame, peer) => {
    peer.reply(frame, { status: Status.notMyVbucket })
    return true
  })
  const sending = sender.send([record(1, 'a', '')], nothing())
  await t.rejects(sending, { code: 'refused', message: /no node serves vbucket \d of bucket b/ })
  const maps = server.peers.flatMap(peer => peer.sent(Opcode.getClusterConfig))
  t.ok(maps.length > 12, 'and the map was asked for again and again')
})

t.test('a document larger than the batch, and kinds of changes', async t => {
  const seen: { opcode: number; length: number; extras: number }[] = []
  const { sender } = await open(t, (frame, peer) => {
    const { opcode, valueLength, extrasLength } = frame
    seen.push({ opcode, length: valueLength, extras: extrasLength })
    peer.send(answer(frame))
    return true
  })
  const large: ArchiveRecord = { ...record(1, 'large', ''), value: Buffer.alloc(3_000_000, 'x') }
  const deletion: ArchiveRecord = { ...record(2, 'gone', ''), kind: 2 }
  const expiration: ArchiveRecord = { ...record(3, 'expired', ''), kind: 3 }
  await sender.send([large, deletion, expiration], nothing())
  t.same(seen, [
    { opcode: Opcode.setWithMeta, length: 3_000_000, extras: 28 },
    { opcode: Opcode.delWithMeta, length: 0, extras: 28 },
    { opcode: Opcode.delWithMeta, length: 0, extras: 28 },
  ])
})
