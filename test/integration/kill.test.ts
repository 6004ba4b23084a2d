/** `kill -9` at any moment: what was acknowledged as durable is there, and nothing is damaged. */
import t, { type Test } from 'tap'
import type { MutationOptions } from '../../src/client/index.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { connectKv, documentsOf, readBucket } from './clients.ts'
import { Writers } from './writers.ts'

t.setTimeout(5 * 60_000)

const rounds = 5
/** Fewer than by default: a bucket opens faster, and each vbucket sees more of the writes. */
const vbuckets = ['--vbuckets', '64']

interface Mode {
  readonly flags: readonly string[]
  /** Taken in turn, one for each round. */
  readonly levels: readonly MutationOptions['durability'][]
}

const durable: Record<string, Mode> = {
  'with --ack disk': { flags: ['--ack', 'disk'], levels: [undefined] },
  'with a durability frame that asks for the disk': {
    flags: ['--ack', 'memory'],
    levels: ['majorityAndPersistOnMaster', 'persistToMajority'],
  },
}

for (const [how, { flags, levels }] of Object.entries(durable)) {
  t.test(`everything acknowledged ${how} survives kill -9`, async t => {
    let daemon = await startDaemon(t, { flags: [...vbuckets, ...flags] })
    for (let round = 0; round < rounds; round++) {
      const durability = levels[round % levels.length]
      const request = durability ? { durability } : {}
      const options = { clients: 8, inFlight: 20, request, prefix: `${round}-` }
      const writers = await Writers.start(t, daemon, options)
      await writers.acknowledged(500 + round * 211)
      daemon = await killAndRestart(t, daemon, flags)
      await writers.ended()
      const { checked, violations } = writers.check(documentsOf(await readBucket(daemon)))
      t.same(violations, [], `round ${round}: ${checked} keys`)
    }
    t.equal(await daemon.stop(), 0)
  })
}

t.test('what was acknowledged from memory may be lost, in order and undamaged', async t => {
  let daemon = await startDaemon(t, { flags: vbuckets })
  const vbid = 5
  for (let round = 0; round < rounds; round++) {
    const before = await (await connectKv(t, daemon)).failoverLog(vbid)
    const { sent, acknowledged } = await writeInOrder(t, daemon, vbid, `${round}-`, 3_000)
    const lost = daemon
    daemon = await killAndRestart(t, lost, [])
    await lost.exited

    const client = await connectKv(t, daemon)
    const documents = documentsOf(await readBucket(daemon))
    const present = sent.filter(key => documents.has(key)).length
    const isPrefix = sent.every((key, index) => documents.has(key) === index < present)
    t.ok(isPrefix, `round ${round}: ${present} of ${acknowledged()} acknowledged, no gap`)
    t.ok(sent.every(key => [undefined, `value of ${key}`].includes(documents.get(key))))

    const after = await client.failoverLog(vbid)
    t.same(after.slice(1), before, 'the history goes on')
    t.equal(after.length, before.length + 1, 'with a new branch')
    const highSeqno = (await client.allVbSeqnos()).get(vbid)
    t.equal(after[0]!.seqno, highSeqno, 'from where it is now')
    const stats = await client.stats()
    t.equal(stats.get('curr_items'), String(documents.size), 'items are counted right')
  }
  await daemon.line('the last stop was not clean')
  t.equal(await daemon.stop(), 0)
})

async function killAndRestart(t: Test, daemon: DaemonProcess, flags: readonly string[]) {
  await daemon.kill()
  return await startDaemon(t, { data: daemon.data, flags: [...vbuckets, ...flags] })
}

/** Writes keys into one vbucket without waiting; resolves when so many are acknowledged. */
async function writeInOrder(
  t: Test,
  daemon: DaemonProcess,
  vbid: number,
  prefix: string,
  enough: number,
) {
  const client = await connectKv(t, daemon)
  const sent = Array.from({ length: enough * 2 }, (_, index) => `${prefix}${index}`)
  let acknowledged = 0
  await new Promise<void>(resolve => {
    for (const key of sent) {
      const set = client.set(key, `value of ${key}`, { vbid })
      set.then(
        () => {
          if (++acknowledged === enough) resolve()
        },
        // The daemon is killed while the others are on their way.
        () => undefined,
      )
    }
  })
  return { sent, acknowledged: () => acknowledged }
}
