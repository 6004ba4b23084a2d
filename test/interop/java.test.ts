/** Couchbase's official Java SDK and Java DCP client, unmodified. */
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t, { type Test } from 'tap'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { CollectionManager } from '../../src/client/index.ts'
import { connectKv } from '../integration/clients.ts'
import { Conversation } from './programs/conversation.ts'
import type { FeatureResult } from './programs/features.ts'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import {
  credentials,
  password,
  startSecuredDaemon,
  startTlsDaemon,
  tlsWords,
  user,
} from './programs/secured-daemon.ts'
import { programIn } from './programs/tool-chains.ts'

t.setTimeout(5 * 60_000)

const deadlineMs = 60_000
const program = await programIn(t, 'java')

/** What the DCP client's program reports. */
interface Copy {
  readonly copy: Record<string, string>
  readonly received: number
  readonly rollbacks: number
  readonly failures: number
  readonly expirations: number
}

function follow(
  t: Test,
  port: number,
  stateFile: string,
  collections: readonly string[] = [],
): Conversation<Copy> {
  const url = `couchbase://127.0.0.1:${port}`
  const words = ['interop.Dcp', url, user, password, stateFile, ...collections]
  return new Conversation(t, program!, words)
}

/** Asks until the copy is what it should be. */
async function copied(client: Conversation<Copy>, expected: ReadonlyMap<string, string>) {
  const until = Date.now() + deadlineMs
  for (;;) {
    const report = await client.ask('report')
    const found = Object.entries(report.copy)
    const isCopy = found.every(([key, value]) => expected.get(key) === value)
    if (isCopy && found.length === expected.size) return report
    if (Date.now() > until) {
      const { received, failures } = report
      const complaints = client.complaints
      throw new Error(`after ${received} changes and ${failures} failures no copy: ${complaints}`)
    }
    await setTimeout(20)
  }
}

const works = (feature: string): FeatureResult => ({ feature, result: 'works', detail: '' })

if (program !== undefined) {
  t.test('the Java SDK does all it is known to do', async t => {
    const daemon = await startTlsDaemon(t)
    const url = `couchbase://127.0.0.1:${daemon.port}`
    const words = [...program.words, 'interop.Sdk', url, user, password, ...tlsWords(daemon)]
    checkResults(t, 'java-sdk', await runProgram(program.command, words))
  })

  t.test('the Java DCP client goes on from the state that it saved', async t => {
    const daemon = await startSecuredDaemon(t)
    const kv = await connectKv(t, daemon, { credentials })
    const expected = new Map<string, string>()
    const set = async (key: string, value: string) => {
      await kv.set(key, value)
      expected.set(key, value)
    }
    const keys = Array.from({ length: 3_000 }, (_, index) => `key-${index}`)
    await Promise.all(keys.map(key => set(key, `first ${key}`)))
    const stateFile = join(daemon.data, '../state.json')

    const first = follow(t, daemon.port, stateFile)
    await copied(first, expected)
    await Promise.all(keys.slice(0, 100).map(key => set(key, 'while it streams')))
    await copied(first, expected)
    await first.ask('save')
    await first.ended()

    await Promise.all(keys.slice(50, 300).map(key => set(key, 'while it is away')))
    for (const key of keys.slice(300, 400)) {
      await kv.remove(key)
      expected.delete(key)
    }
    const second = follow(t, daemon.port, stateFile)
    const { received, rollbacks, failures } = await copied(second, expected)
    t.equal(received, 350, 'only what has changed')
    t.equal(rollbacks, 0)
    t.equal(failures, 0)
    checkResults(t, 'java-dcp', [works('whole bucket'), works('resume from a saved state')])
  })

  t.test('the Java DCP client follows a collection, and hears that documents expire', async t => {
    const daemon = await startSecuredDaemon(t, { flags: ['--expiry-pager-interval', '100ms'] })
    const kv = await connectKv(t, daemon, { credentials, collections: true })
    const manager = new CollectionManager(kv)
    await manager.createScope('shop')
    await manager.createCollection('shop.orders')
    await manager.createCollection('shop.baskets')
    const keys = Array.from({ length: 200 }, (_, index) => `key-${index}`)
    for (const collection of ['_default._default', 'shop.orders', 'shop.baskets']) {
      await Promise.all(keys.map(key => kv.set(key, `of ${collection}`, { collection })))
    }
    const collection = 'shop.orders'
    const expected = new Map(keys.map(key => [key, `of ${collection}`]))
    const stateFile = join(daemon.data, '../state.json')
    const client = follow(t, daemon.port, stateFile, [collection])
    t.equal((await copied(client, expected)).received, keys.length, 'nothing of others')
    await kv.set('fleeting', 'x', { collection, expiry: 1 })
    await kv.set('fleeting', 'x', { collection: 'shop.baskets', expiry: 1 })
    await kv.set('lasting', 'y', { collection })
    const deadline = Date.now() + deadlineMs
    let report = await client.ask('report')
    while (report.expirations === 0 && Date.now() < deadline) {
      await setTimeout(50)
      report = await client.ask('report')
    }
    t.equal(report.expirations, 1)
    expected.set('lasting', 'y')
    const { failures, rollbacks } = await copied(client, expected)
    t.same([failures, rollbacks], [0, 0])
    checkResults(t, 'java-dcp', [works('a collection alone'), works('expiry')])
  })

  t.test('the Java DCP client copies a bucket over a link that keeps breaking', async t => {
    const purging = ['--purge-age', '0', '--purge-interval', '50ms']
    const proxy = await FaultyProxy.start({ targetPort: 0 })
    t.teardown(() => proxy.close())
    const advertised = `$HOST,kv=${proxy.port}`
    const daemon = await startSecuredDaemon(t, {
      flags: [
        '--vbuckets',
        '8',
        '--backfill-resume-default',
        '--advertise',
        advertised,
        ...purging,
      ],
    })
    proxy.targetPort = daemon.port
    const kv = await connectKv(t, daemon, { credentials })
    const keys = Array.from({ length: 30_000 }, (_, index) => `key-${index}`)
    const value = 'a value of some length '.repeat(8)
    const expected = new Map(keys.map(key => [key, value]))
    await Promise.all(keys.map(key => kv.set(key, value)))

    // Not the first so many connections: on a busy machine this client gives some up before it has a stream.
    const cuts = 12
    proxy.plan = (_, random) =>
      proxy.counters.cut < cuts
        ? [{ kind: 'cut', afterBytes: 250_000 + Math.floor(random() * 200_000) }]
        : []
    const client = follow(t, proxy.port, join(daemon.data, '../state.json'))
    // What is deleted and purged while the client is between two cuts must not stay in its copy.
    for (const key of keys.slice(0, 2_000)) {
      await kv.remove(key)
      expected.delete(key)
    }
    const { rollbacks, failures } = await copied(client, expected)
    // This client repeats a request that a cut has left unanswered, 200 ms later and from where it was
    // then, though it may have acknowledged more since. Where it finds no channel to repeat it on, the
    // stream fails. Without `--backfill-resume-default` each cut rolls several vbuckets back.
    const said = daemon.stderr.filter(line => line.includes('roll back')).join('\n')
    t.equal(rollbacks, 0, `rollbacks ${said}`)
    t.ok(failures <= cuts / 4, `${failures} failures ${client.complaints}`)
    t.ok(proxy.counters.cut >= cuts, `${proxy.counters.cut} cuts`)
    checkResults(t, 'java-dcp', [works('backfill over a breaking link')])
  })
}
