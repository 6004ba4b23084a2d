import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import type { ArchiveRecord } from '../../src/backup/archive/record.ts'
import {
  restore,
  type RestoreEvent,
  type RestoreOptions,
} from '../../src/backup/restore/restore.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { KvClient } from '../../src/client/index.ts'
import { vbucketOf } from '../../protocol/key-hash.ts'
import { CommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { buildArchive, type History } from './archive-builder.ts'
import { serveMap } from './map-server.ts'
import { record } from './objects.ts'
import { documentsOf } from './scene.ts'

const vbuckets = 8
const archive = join(t.testdir(), 'archive')
const store = new FileStore(archive)

/** Of each vbucket as many changes, of keys that belong there; the first few are changed again. */
function history(from: number, count: number): History {
  const changes = new Map<number, ArchiveRecord[]>()
  for (let vbid = 0; vbid < vbuckets; vbid++) changes.set(vbid, [])
  for (let number = 0; ; number++) {
    const key = `key-${number}`
    const list = changes.get(vbucketOf(key, vbuckets))!
    const seqno = from + list.length
    const value = `from ${from} ${'x'.repeat(200)}`
    if (list.length < count)
      list.push({ ...record(seqno, key, value), cas: BigInt(seqno), revno: seqno })
    if ([...changes.values()].every(({ length }) => length === count)) return changes
  }
}

const perVbucket = 100
const ids = await buildArchive(store, [history(1, perVbucket), history(1000, 20)], { vbuckets })
const total = vbuckets * (perVbucket + 20)
const expected = new Map<string, string>()
for (const changes of [history(1, perVbucket), history(1000, 20)])
  for (const list of changes.values())
    for (const { key, value, cas } of list)
      expected.set(key.toString(), `${cas} ${value.toString()}`)

async function stateOf(port: number): Promise<Map<string, string>> {
  const documents = await documentsOf(port)
  return new Map(
    [...documents].map(([key, { cas, value }]) => [
      key,
      `${cas} ${Buffer.from(value, 'base64').toString()}`,
    ]),
  )
}

const newTarget = (t: Test) => startDaemon(t, { flags: ['--vbuckets', '16'] })

interface Scene {
  staging: string
  events: RestoreEvent[]
  restore(port: number, more?: Partial<RestoreOptions>): ReturnType<typeof restore>
}

function scene(t: Test): Scene {
  const staging = join(t.testdir(), 'staging')
  const events: RestoreEvent[] = []
  return {
    staging,
    events,
    restore: (port, more) =>
      restore({
        store,
        repository: 'r',
        target: { host: '127.0.0.1', port, bucket: 'default' },
        stagingRoot: staging,
        threads: 1,
        signal: new AbortController().signal,
        report: event => events.push(event),
        ...more,
      }),
  }
}

/** Stops it when so many objects have been read; those in front of the last are in the bucket. */
async function interrupt(t: Test, s: Scene, port: number, objects: number): Promise<void> {
  const stopping = new AbortController()
  const stopped = new FileStore(archive)
  const read = stopped.read.bind(stopped)
  let reads = 0
  stopped.read = (key, range) => {
    if (++reads === objects) stopping.abort(new Error('stopped'))
    return read(key, range)
  }
  const restoring = s.restore(port, { store: stopped, signal: stopping.signal })
  await t.rejects(restoring, { message: 'stopped' })
}

const journalsIn = (staging: string) =>
  readdirSync(staging, { recursive: true, encoding: 'utf8' })
    .filter(name => name.endsWith('.json'))
    .map(name => join(staging, name))

t.test('interrupted, it goes on where it was, and the bucket is as if it had not been', async t => {
  const s = scene(t)
  const daemon = await newTarget(t)
  await interrupt(t, s, daemon.port, 7)
  t.equal(journalsIn(s.staging).length, 1)
  // What the journal says is done survives a crash of the daemon.
  await daemon.kill()
  const again = await startDaemon(t, { data: daemon.data, flags: ['--vbuckets', '16'] })
  const result = await s.restore(again.port, { resume: true })
  t.match(result, { applied: total, skipped: 0, filtered: 0, backups: ids })
  t.match(
    s.events.find(({ type }) => type === 'note'),
    { message: `going on behind ${3 * (perVbucket + 20)} changes` },
  )
  t.same(await stateOf(again.port), expected)
  t.notOk(existsSync(s.staging) && journalsIn(s.staging).length > 0, 'the journal is gone')
})

t.test('a journal that is torn, or of another restore, does no harm', async t => {
  const s = scene(t)
  const daemon = await newTarget(t)
  await interrupt(t, s, daemon.port, 7)
  const [journal] = journalsIn(s.staging) as [string]
  const beginsAnew = () =>
    s.events.some(event => event.type === 'note' && event.message.includes('begins from the start'))
  t.notOk(beginsAnew())
  const other = await s.restore(daemon.port, { resume: true, keyPrefixes: ['key-1'], force: true })
  t.ok(beginsAnew())
  t.ok(other.filtered > 0 && other.applied > 0 && other.applied + other.filtered === total)
  t.ok(existsSync(journal), 'the one of the first restore is still there')
  s.events.length = 0
  writeFileSync(journal, readFileSync(journal).subarray(0, 50))
  t.match(await s.restore(daemon.port, { resume: true }), { filtered: 0 })
  t.ok(beginsAnew())
  t.same(await stateOf(daemon.port), expected)
})

t.test('a bucket that has lost what was restored is not gone on with', async t => {
  const s = scene(t)
  const daemon = await newTarget(t)
  await interrupt(t, s, daemon.port, 7)
  const [journal] = journalsIn(s.staging) as [string]
  const document = JSON.parse(readFileSync(journal, 'utf8')) as { seqnos: [number, number][] }
  document.seqnos[3]![1] += 1
  writeFileSync(journal, JSON.stringify(document))
  const lost = { code: 'rollback', message: /lost what was restored into vbucket 3: .* without/ }
  await t.rejects(s.restore(daemon.port, { resume: true }), lost)
  await s.restore(daemon.port)
  t.same(await stateOf(daemon.port), expected)
})

t.test('a staging folder that cannot be written is told before anything is done', async t => {
  const s = scene(t)
  const daemon = await newTarget(t)
  writeFileSync(join(t.testdirName, 'file'), '')
  const restoring = s.restore(daemon.port, { stagingRoot: join(t.testdirName, 'file') })
  await t.rejects(restoring, { code: 'staging', message: /^staging file .*ENOTDIR/ })
  t.same(await stateOf(daemon.port), new Map())
})

for (const signal of ['SIGINT', 'SIGTERM', 'SIGKILL'] as const)
  t.test(`${signal} in the middle, and again without end: it is resumed`, async t => {
    const s = scene(t)
    const daemon = await newTarget(t)
    const words = ['--archive', archive, '--repo', 'r', '--staging', s.staging, '--json']
    const metrics = join(t.testdirName, 'metrics')
    const start = (...more: string[]) =>
      new CommandLine(daemon.port, ['restore', ...words, '--metrics-file', metrics, ...more])
    const applied = (line: string) => (JSON.parse(line) as { applied?: number }).applied ?? 0
    const command = start('--change-limit', '100', '--threads', '2')
    t.teardown(() => command.process.kill('SIGKILL'))
    // Lines come twice a second: the first with something in it is far from the end.
    for (let lines = 1; !command.lines.some(line => applied(line) > 0); lines++)
      await command.untilLines(lines)
    t.match(readFileSync(metrics, 'utf8'), /holdfast_restore_exit_code\{[^}]+\} -1\n/)
    const signalledMs = performance.now()
    command.process.kill(signal)
    const { code, lines } = { code: (await command.finished).code, lines: command.lines }
    if (signal !== 'SIGKILL') {
      t.equal(code, 5)
      // A second on a machine that has nothing else to do.
      t.ok(performance.now() - signalledMs < 5000)
      t.match(JSON.parse(lines.at(-1)!), { type: 'failed', exitCode: 5, message: /--resume/ })
      t.match(readFileSync(metrics, 'utf8'), /holdfast_restore_exit_code\{[^}]+\} 5\n/)
    }
    const resumed = start('--resume')
    t.match(await resumed.finished, { code: 0, stderr: '' })
    t.match(JSON.parse(resumed.lines.at(-1)!), { type: 'complete', filtered: 0 })
    t.same(await stateOf(daemon.port), expected)
    const text = readFileSync(metrics, 'utf8')
    t.match(text, /holdfast_restore_exit_code\{repository="r",bucket="default"\} 0\n/)
    const number = (result: string) =>
      Number(new RegExp(`restore_changes\\{result="${result}".*\\} (\\d+)`).exec(text)?.[1])
    t.equal(number('applied') + number('skipped') + number('filtered'), total)
    t.same(
      readdirSync(t.testdirName).filter(name => name.endsWith('.tmp')),
      [],
    )
  })

t.test('documents may be on several nodes', async t => {
  const s = scene(t)
  const nodes = [await newTarget(t), await newTarget(t)] as const
  const nodeOf = Array.from({ length: 16 }, (_, vbid) => (vbid % 3 === 0 ? 1 : 0))
  for (const [node, { port }] of nodes.entries()) {
    const client = await KvClient.connect({ port })
    for (const [vbid, owner] of nodeOf.entries())
      if (owner !== node) await client.deleteVbucket(vbid)
    await client.close()
  }
  const seed = await serveMap(
    t,
    nodes.map(({ port }) => port),
    nodeOf,
  )
  t.match(await s.restore(seed.port, { threads: 3 }), { applied: total })
  const states = await Promise.all(nodes.map(({ port }) => stateOf(port)))
  t.ok(states.every(({ size }) => size > 100))
  t.same(new Map([...states[0]!, ...states[1]!]), expected)
  // The first node knows that vbuckets are missing.
  const alone = s.restore(nodes[0].port)
  await t.rejects(alone, { code: 'refused', message: /no node serves vbuckets 0, 3, 6, 9, 12 and/ })
})
