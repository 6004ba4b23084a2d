import { execFile } from 'node:child_process'
import { rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import type { Benchmark, Context, Outcome } from '../benchmark.ts'
import { benchmarkDaemon, vbucketCount, type Daemon } from '../daemon.ts'
import { fill } from '../load/load-driver.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { ratio, spreadOf } from '../spread.ts'

const execute = promisify(execFile)
const valueBytes = 256
/** Of the documents of the larger bucket, of which there are a quarter as many. */
const largeValueBytes = 1024
const mebibyte = 1024 * 1024
/** Of which each has 3 MiB: more than a block, less than a segment. */
const fewVbuckets = 64
const documentsOfFew = 196_608
const programs = resolve(import.meta.dirname, '../backup')
const commandLine = resolve(import.meta.dirname, '../../bin/holdfast.js')

type Name = 'DCP client discarding' | 'backup' | 'SET_WITH_META' | 'restore'

interface Round {
  readonly documentsPerSecond: number
  /** The most that was resident, as the tool tells it. */
  readonly memoryBytes: number
}

export const benchmark: Benchmark = {
  name: 'backup',
  about:
    'A backup to a folder against the DCP client that discards what it gets; its restore against pipelined SET_WITH_META without the tool',
  needs: ['cc'],
  minutes: 10,
  run,
}

async function run(context: Context): Promise<Outcome> {
  // Large enough for the start of each process to matter little.
  const documents = context.quick ? 100_000 : 4_000_000
  const fewer = documents / 4
  const few = context.quick ? documentsOfFew / 4 : documentsOfFew
  const backedUp = ['DCP client discarding', 'backup'] as const
  const restored = ['backup', 'SET_WITH_META', 'restore'] as const
  const whole = await measuredOf(context, backedUp, { documents, valueBytes })
  const large = await measuredOf(context, backedUp, {
    documents: fewer,
    valueBytes: largeValueBytes,
  })
  const back = await measuredOf(context, restored, { documents: fewer, valueBytes })
  const inFew = await measuredOf(context, ['backup'], {
    documents: few,
    valueBytes: largeValueBytes,
    vbuckets: fewVbuckets,
  })
  const ofLarge = `, of ${largeValueBytes} B`
  const row = (work: string, rounds: Round[]) => ({
    work,
    'documents/s': spreadOf(rounds.map(speed)),
  })
  const rows = [
    ...backedUp.map(name => row(name, whole[name])),
    ...backedUp.map(name => row(`${name}${ofLarge}`, large[name])),
    row('SET_WITH_META', back.SET_WITH_META),
    row('restore', back.restore),
  ]
  const compared = (figure: string, one: Round[], other: Round[], atLeast: number) =>
    ratio(figure, one.map(speed), other.map(speed), { atLeast })
  const resident = (what: string, rounds: Round[]) => ({
    figure: `resident MiB of ${what}`,
    value: spreadOf(rounds.map(({ memoryBytes }) => memoryBytes / mebibyte)),
    atMost: 256,
  })
  const figure = 'backup / DCP client discarding'
  const verdicts = [
    compared(figure, whole.backup, whole['DCP client discarding'], 0.8),
    compared(`${figure}${ofLarge}`, large.backup, large['DCP client discarding'], 0.8),
    compared('restore / SET_WITH_META', back.restore, back.SET_WITH_META, 0.5),
    resident('backup', whole.backup),
    resident(`backup${ofLarge}`, large.backup),
    resident(`backup, of ${fewVbuckets} vbuckets of 3 MiB`, inFew.backup),
    resident('restore', back.restore),
  ]
  const rounds = roundsOf(context)
  const settings = { documents, valueBytes, largeValueBytes, vbuckets: vbucketCount, rounds }
  return { settings, rows, plot: 'documents/s', verdicts }
}

function speed({ documentsPerSecond }: Round): number {
  return documentsPerSecond
}

/** Fills a bucket, and measures what is done with it, in turns. */
async function measuredOf<Some extends Name>(
  context: Context,
  names: readonly Some[],
  bucket: { documents: number; valueBytes: number; vbuckets?: number },
): Promise<Record<Some, Round[]>> {
  const { documents, valueBytes, vbuckets = vbucketCount } = bucket
  const data = join(context.folder, `source-${vbuckets}-${valueBytes}`)
  const flags = ['--vbuckets', String(vbuckets)]
  context.progress(`storing ${documents} documents of ${valueBytes} B`)
  const first = await benchmarkDaemon(context, { data, flags })
  await fill({ ...first, vbuckets }, { keys: documents, valueBytes })
  await first.stop()
  // Started anew, so that nothing of them is in memory.
  const source = await benchmarkDaemon(context, { data, flags })
  await untilQuiet(source.pid)
  const archive = join(context.folder, 'archive')
  const scene = { context, source, documents, valueBytes, archive }
  // Once without counting: files are read into memory.
  await discard(scene)
  const measured = await inTurns(roundsOf(context), names, async (name, round) => {
    const one = await measures[name](scene)
    const memory = one.memoryBytes > 0 ? `, ${Math.round(one.memoryBytes / mebibyte)} MiB` : ''
    const speed = Math.round(one.documentsPerSecond).toLocaleString('en')
    context.progress(`round ${round}, ${name}: ${speed} documents/s${memory}`)
    return one
  })
  await source.kill()
  rmSync(data, { recursive: true, force: true })
  return measured
}

interface Scene {
  readonly context: Context
  readonly source: Daemon
  readonly documents: number
  readonly valueBytes: number
  readonly archive: string
}

/** Each is a process of its own, from its start to its end. */
const measures: Readonly<Record<Name, (scene: Scene) => Promise<Round>>> = {
  'DCP client discarding': discard,
  async backup(scene) {
    rmSync(scene.archive, { recursive: true, force: true })
    return await timed(scene, () => tool(scene, 'backup', scene.source.port))
  },
  SET_WITH_META: scene =>
    intoEmpty(scene, async ({ port }) => {
      const program = join(programs, 'set-with-meta.js')
      const words = [port, scene.documents, scene.valueBytes].map(String)
      const { answered } = (await node(scene, [program, ...words])) as { answered: number }
      return { count: answered, memoryBytes: 0 }
    }),
  restore: scene => intoEmpty(scene, ({ port }) => tool(scene, 'restore', port)),
}

async function discard(scene: Scene): Promise<Round> {
  return await timed(scene, async () => {
    const words = [join(programs, 'discard.js'), String(scene.source.port)]
    const { changes } = (await node(scene, words)) as { changes: number }
    return { count: changes, memoryBytes: 0 }
  })
}

interface Work {
  /** Of documents; all of them, or the case is wrong. */
  readonly count: number
  readonly memoryBytes: number
}

async function timed({ documents }: Scene, work: () => Promise<Work>): Promise<Round> {
  const began = performance.now()
  const { count, memoryBytes } = await work()
  const seconds = (performance.now() - began) / 1000
  if (count !== documents) throw new Error(`${count} of ${documents} documents`)
  return { documentsPerSecond: documents / seconds, memoryBytes }
}

async function intoEmpty(scene: Scene, work: (target: Daemon) => Promise<Work>): Promise<Round> {
  const data = join(scene.context.folder, 'target')
  const target = await benchmarkDaemon(scene.context, { data })
  await untilQuiet(target.pid)
  try {
    return await timed(scene, () => work(target))
  } finally {
    await target.kill()
    rmSync(data, { recursive: true, force: true })
  }
}

async function tool(scene: Scene, command: 'backup' | 'restore', port: number): Promise<Work> {
  const place = ['--archive', scene.archive, '--repo', 'r', '--port', String(port)]
  const staging = ['--staging', join(scene.context.folder, 'staging')]
  const last = (await node(scene, [commandLine, command, ...place, ...staging, '--json'])) as {
    memoryBytes: number
    backup?: { counts: { mutation: number } }
    applied?: number
  }
  const count = command === 'backup' ? last.backup!.counts.mutation : last.applied!
  return { count, memoryBytes: last.memoryBytes }
}

/** What it prints at last. */
async function node({ context }: Scene, words: readonly string[]): Promise<unknown> {
  const options = { maxBuffer: 64 * mebibyte }
  const { stdout } = await execute(context.node, ['--no-warnings', ...words], options)
  return JSON.parse(stdout.trim().split('\n').at(-1)!)
}
