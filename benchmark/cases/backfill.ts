import { readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Benchmark, Context, Outcome, Row } from '../benchmark.ts'
import { benchmarkDaemon, vbucketCount } from '../daemon.ts'
import { loopbackLimit, scanLimit, type Limit } from '../limits/limits.ts'
import { fill } from '../load/load-driver.ts'
import { startPostgreSql } from '../peers/postgresql.ts'
import { redisCommand, startRedis } from '../peers/redis.ts'
import { untilQuiet } from '../process-usage.ts'
import { inTurns, roundsOf } from '../rounds.ts'
import { startServerProcess } from '../server-process.ts'
import { receive, type Received, type Sending } from '../sinks/receive.ts'
import { ratio, spreadOf } from '../spread.ts'

const valueBytes = 256
const clientsMax = 4
/** Header, extras, key and value: what a document is on the wire. */
const messageBytes = 24 + 31 + 16 + valueBytes
const naiveProgram = resolve(import.meta.dirname, '../naive-backfill.js')

const senders = ['holdfast', 'redis full sync', 'PostgreSQL COPY', 'naive getRange'] as const
type Sender = (typeof senders)[number]
const limits = ['limit: scan in C', 'limit: loopback in C'] as const
type Measurement = Sender | (typeof limits)[number]

export const benchmark: Benchmark = {
  name: 'backfill',
  about:
    'The whole bucket to one client and to four, against a full sync of redis, COPY of PostgreSQL, a naive iteration, and what the machine allows',
  needs: ['cc', 'redis', 'postgresql'],
  minutes: 5,
  run,
}

async function run(context: Context): Promise<Outcome> {
  const documents = context.quick ? 100_000 : 2_000_000
  const rounds = roundsOf(context)
  const { sendings, directories } = await filledSenders(context, documents)
  const measureOne = async (name: Measurement): Promise<Received> => {
    if (name === 'limit: scan in C') return asReceived(await scanLimit('blocks', directories))
    if (name === 'limit: loopback in C')
      return asReceived(await loopbackLimit(documents, messageBytes))
    return await receive(sendings[name], 1)
  }
  const reported = async (what: string, received: Promise<Received>) => {
    const { documentsPerSecond, serverMicroseconds } = await received
    const speed = Math.round(documentsPerSecond).toLocaleString('en')
    context.progress(`${what}: ${speed} documents/s, ${serverMicroseconds.toFixed(2)} µs of CPU`)
    return await received
  }
  const names = [...senders, ...limits]
  // Once without counting: code is compiled, and files are read into memory.
  for (const name of names) await measureOne(name)
  const one = await inTurns(rounds, names, (name, round) =>
    reported(`one client, round ${round}, ${name}`, measureOne(name)),
  )
  await redisCommand(sendings['redis full sync'].port, 'CONFIG SET repl-diskless-sync-delay 5')
  const several = senders.filter(name => name !== 'naive getRange')
  const four = await inTurns(rounds, several, (name, round) =>
    reported(`four clients, round ${round}, ${name}`, receive(sendings[name], clientsMax)),
  )
  const rows = [
    ...names.map(name => rowOf('one', name, one[name])),
    ...several.map(name => rowOf('four', name, four[name])),
  ]
  const settings = { documents, valueBytes, vbuckets: vbucketCount, rounds }
  return { settings, rows, plot: 'documents/s', verdicts: verdictsOf(one) }
}

/** Everybody with the same number of documents, of the same size. */
async function filledSenders(context: Context, documents: number) {
  context.progress(`storing ${documents} documents of ${valueBytes} B in holdfast`)
  const first = await benchmarkDaemon(context)
  await fill(first, { keys: documents, valueBytes })
  await first.stop()
  // Started anew, so that nothing of them is in memory.
  const holdfast = await benchmarkDaemon(context, { data: first.data })
  const directories = environmentsOf(first.data)

  context.progress('the same in redis')
  const redis = await startRedis(context, 'everysec')
  await fill(redis, { keys: documents, valueBytes })
  await untilQuiet(redis.pid)

  context.progress('the same in PostgreSQL')
  const postgresql = await startPostgreSql(context)
  await postgresql.query('CREATE TABLE documents (key text PRIMARY KEY, value text NOT NULL)')
  await postgresql.query(
    `INSERT INTO documents SELECT 'key-' || lpad(number::text, 12, '0'), ` +
      `repeat(md5(number::text), ${valueBytes / 32}) FROM generate_series(1, ${documents}) number`,
  )
  // As after a while of use: rows are known to be visible without looking them up.
  await postgresql.query('VACUUM (FREEZE, ANALYZE) documents')
  await postgresql.query('CHECKPOINT')

  const naive = await startServerProcess(context, {
    command: context.node,
    args: [naiveProgram, join(context.folder, 'naive'), ...directories],
    ready: /listening on (\d+)/,
  })
  const sendings: Record<Sender, Sending> = {
    holdfast: { ...holdfast, kind: 'dcp', documents, vbuckets: vbucketCount },
    'redis full sync': { ...redis, kind: 'redis', documents },
    'PostgreSQL COPY': { ...postgresql, kind: 'copy', documents },
    'naive getRange': { ...naive, port: Number(naive.ready[1]), kind: 'anything', documents },
  }
  return { sendings, directories }
}

function environmentsOf(data: string): string[] {
  const buckets = join(data, 'buckets')
  return readdirSync(buckets).flatMap(bucket =>
    readdirSync(join(buckets, bucket))
      .filter(name => name.startsWith('environment-'))
      .map(name => join(buckets, bucket, name)),
  )
}

function asReceived({ operations, bytes, seconds }: Limit): Received {
  const documentsPerSecond = operations / seconds
  return {
    documentsPerSecond,
    bytesPerSecond: bytes / seconds,
    serverMicroseconds: 1e6 / documentsPerSecond,
  }
}

function rowOf(clients: string, sender: string, rounds: readonly Received[]): Row {
  return {
    clients,
    sender,
    'documents/s': spreadOf(rounds.map(one => one.documentsPerSecond)),
    'MB/s': spreadOf(rounds.map(one => one.bytesPerSecond / 1e6)).median,
    'server CPU µs/document': spreadOf(rounds.map(one => one.serverMicroseconds)),
  }
}

function verdictsOf(one: Record<Measurement, Received[]>) {
  const speeds = (name: Measurement) => one[name].map(round => round.documentsPerSecond)
  const costs = (name: Measurement) => one[name].map(round => round.serverMicroseconds)
  const faster = (name: Measurement, atLeast: number) =>
    ratio(`documents/s: holdfast / ${name}`, speeds('holdfast'), speeds(name), { atLeast })
  return [
    faster('redis full sync', 3),
    faster('PostgreSQL COPY', 1),
    faster('limit: scan in C', 0.4),
    ratio('CPU: holdfast / naive getRange', costs('holdfast'), costs('naive getRange'), {
      atMost: 0.25,
    }),
  ]
}
