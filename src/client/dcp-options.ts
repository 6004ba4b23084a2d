import { dcpNameLengthMax } from '../../protocol/dcp/open.ts'
import type { Clock } from '../clock.ts'
import { silentLog, type Log } from '../log.ts'
import { systemRandom, type Random } from '../random.ts'
import type { ChangeTaker } from './arrivals.ts'
import type { BackoffOptions } from './backoff.ts'
import { clientClock } from './client-clock.ts'
import { checkSelection, type CollectionSelection } from './collection-selection.ts'
import type { ConnectionOptions } from './connection.ts'
import type { Credentials } from './login.ts'

/**
 * `accept`: gone back to that seqno. A number: only an older state was to be had, this one (0 is
 * always possible). `stop`: it cannot be done.
 */
export type RollbackDecision = 'accept' | 'stop' | number

export interface DcpClientOptions extends Omit<ConnectionOptions, 'bodyBytesMax'> {
  /** Names the connection for as long as the client lives, also after reconnecting; at most 200 bytes. */
  name: string
  /** Default `default`. */
  bucket?: string
  credentials?: Credentials
  /** Which vbuckets to stream; all that the node has by default. */
  vbuckets?: 'all' | readonly number[]
  /** What `state()` gave some time ago: goes on from there. Checked before it is used. */
  state?: unknown
  /** Where vbuckets begin that are not in `state` (default `beginning`). */
  from?: 'beginning' | 'now'
  /**
   * Where streams end: at what the vbuckets hold when the client connects, or at these seqnos.
   * By default nowhere. The snapshot with the end in it always comes whole.
   */
  until?: 'now' | ReadonlyMap<number, number>
  /**
   * The server asks to go back to `seqno`: what came after it is not part of its history. Called
   * between changes, never while one is being consumed. Answer once everything of the vbucket
   * after `seqno` is undone; `stop`, the default, ends the client with HOLDFAST_ROLLBACK.
   */
  onRollback?: (vbid: number, seqno: number) => RollbackDecision | Promise<RollbackDecision>
  /** Flow control: what the server may send ahead of the consumer (default 20 MiB); 0: no limit. */
  bufferBytes?: number
  /** Beyond this the socket is not read any more (default twice `bufferBytes`, at least 1 MiB). */
  queueBytesMax?: number
  /**
   * `manual`: the server is told that changes were consumed when `acknowledge()` is called, so
   * that it keeps what would be needed to send them again until they are stored safely. At the end
   * of bounded streams, too, the owner acknowledges and then closes.
   */
  acknowledgement?: 'auto' | 'manual'
  /** Further streams are asked for as others come to their end (default: all at once). */
  openStreamsMax?: number
  /** How often the server gives a sign of life; twice this in silence ends a connection (default 20). */
  noopIntervalSeconds?: number
  /**
   * Asks the server to keep backfills for a client that was cut off, under the connection's name
   * or an id of one's own (default true). Servers that cannot are none the worse.
   */
  backfillResume?: boolean | { id: string; grace?: number }
  /**
   * Which collections: `'all'`, some by their names, or those of a scope. Without it, the default
   * collection and nothing else. A state is good for the selection that it was made with.
   */
  collections?: CollectionSelection
  /** Only keys and metadata (default false). */
  keysOnly?: boolean
  includeXattrs?: boolean
  /** Further bits of `StreamRequestFlag`. */
  streamFlags?: number
  /** More DCP_CONTROL settings; a server that refuses one is no error. */
  controls?: Readonly<Record<string, string>>
  /** `false`: the first loss of the connection is the end. */
  reconnect?: false | (BackoffOptions & { attemptsMax?: number })
  /**
   * Takes every change as it arrives; the iteration then has everything else, and where the client is
   * does not depend on it. For those to whom an object for each change is too much.
   */
  takeChange?: ChangeTaker
  /** Aborting it ends the client and the iteration, which throws the reason. */
  signal?: AbortSignal
  log?: Log
  random?: Random
}

/** With every default filled in. */
export interface DcpSettings {
  readonly connection: ConnectionOptions
  readonly name: string
  readonly bucket: string
  readonly credentials: Credentials | undefined
  readonly vbuckets: 'all' | readonly number[]
  readonly from: 'beginning' | 'now'
  readonly until: 'now' | ReadonlyMap<number, number> | undefined
  readonly onRollback: (vbid: number, seqno: number) => RollbackDecision | Promise<RollbackDecision>
  readonly bufferBytes: number
  readonly queueBytesMax: number
  readonly openStreamsMax: number
  readonly manualAcknowledgement: boolean
  readonly noopIntervalMs: number
  readonly backfillResume: boolean | { id: string; grace?: number }
  readonly collections: CollectionSelection | undefined
  readonly keysOnly: boolean
  readonly includeXattrs: boolean
  readonly streamFlags: number
  readonly controls: Readonly<Record<string, string>>
  readonly reconnect: false | (BackoffOptions & { attemptsMax?: number })
  readonly takeChange: ChangeTaker | undefined
  readonly log: Log
  readonly random: Random
  readonly clock: Clock
}

export function settle(options: DcpClientOptions): DcpSettings {
  const bufferBytes = options.bufferBytes ?? 20 * 1024 * 1024
  const clock = options.clock ?? clientClock
  const noopIntervalSeconds = options.noopIntervalSeconds ?? 20
  checkOptions(options, bufferBytes, noopIntervalSeconds)
  return {
    connection: { ...connectionOptions(options), clock },
    name: options.name,
    bucket: options.bucket ?? 'default',
    credentials: options.credentials,
    vbuckets: options.vbuckets ?? 'all',
    from: options.from ?? 'beginning',
    until: options.until,
    onRollback: options.onRollback ?? (() => 'stop'),
    bufferBytes,
    queueBytesMax: options.queueBytesMax ?? Math.max(2 * bufferBytes, 1024 * 1024),
    openStreamsMax: options.openStreamsMax ?? Infinity,
    manualAcknowledgement: options.acknowledgement === 'manual',
    noopIntervalMs: noopIntervalSeconds * 1000,
    backfillResume: options.backfillResume ?? true,
    collections: options.collections,
    keysOnly: options.keysOnly ?? false,
    includeXattrs: options.includeXattrs ?? false,
    streamFlags: options.streamFlags ?? 0,
    controls: options.controls ?? {},
    reconnect: options.reconnect ?? {},
    takeChange: options.takeChange,
    log: options.log ?? silentLog,
    random: options.random ?? systemRandom,
    clock,
  }
}

function checkOptions(options: DcpClientOptions, bufferBytes: number, noopSeconds: number): void {
  const nameLength = Buffer.byteLength(options.name)
  if (nameLength === 0 || nameLength > dcpNameLengthMax)
    throw new RangeError(`a DCP name has 1 to ${dcpNameLengthMax} bytes, not ${nameLength}`)
  if (!Number.isInteger(bufferBytes) || bufferBytes < 0 || bufferBytes > 0x7fffffff)
    throw new RangeError(`bufferBytes ${bufferBytes} is not within 0 and 2^31-1`)
  if (options.openStreamsMax !== undefined && !(options.openStreamsMax >= 1))
    throw new RangeError('openStreamsMax has to be at least 1')
  if (options.collections !== undefined) checkSelection(options.collections)
  if (!(noopSeconds > 0)) throw new RangeError('noopIntervalSeconds has to be more than 0')
  if (options.vbuckets !== undefined && options.vbuckets !== 'all') {
    for (const vbid of options.vbuckets)
      if (!Number.isInteger(vbid) || vbid < 0 || vbid > 0xffff)
        throw new RangeError(`${vbid} is no vbucket`)
  }
}

function connectionOptions(options: DcpClientOptions): ConnectionOptions {
  const { host, port, tls, connectTimeoutMs, requestTimeoutMs, readInto } = options
  return {
    ...(host === undefined ? {} : { host }),
    ...(port === undefined ? {} : { port }),
    ...(tls === undefined ? {} : { tls }),
    ...(connectTimeoutMs === undefined ? {} : { connectTimeoutMs }),
    ...(requestTimeoutMs === undefined ? {} : { requestTimeoutMs }),
    ...(readInto === undefined ? {} : { readInto }),
  }
}
