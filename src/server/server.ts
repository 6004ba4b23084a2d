import { createServer, type AddressInfo, type Server as NetServer, type Socket } from 'node:net'
import { once } from 'node:events'
import { setImmediate } from 'node:timers/promises'
import type { SaslMechanism } from '../../protocol/sasl/index.ts'
import type { Access } from '../auth/access.ts'
import type { AuditLog } from '../auth/audit.ts'
import type { Identity } from '../auth/identity.ts'
import type { Clock, Timer } from '../clock.ts'
import { DelayedFlushes } from '../commands/flush.ts'
import { ClusterMaps, type Address, type HttpPorts } from '../commands/cluster-map.ts'
import type { CommandSettings, Node } from '../commands/node.ts'
import type { Endpoint } from '../config/endpoint.ts'
import type { DcpService } from '../dcp/service.ts'
import type { Log } from '../log.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Buckets } from '../vbucket/buckets.ts'
import type { TlsFiles } from './certificate.ts'
import { Connection } from './connection.ts'
import type { ServerContext } from './context.ts'
import { Dispatcher } from './dispatcher.ts'
import { OperationCounters } from './operation-counters.ts'
import { MemoryBudget } from './memory-budget.ts'
import { AnswerRound } from './answer-round.ts'
import { OutputSlab } from './output-slab.ts'
import { TlsListener } from './tls-listener.ts'
import { Turn } from './turn.ts'
import { TrafficSinceReset } from './traffic-since-reset.ts'
import { WritePressure } from './write-pressure.ts'

/** A value of 64 KiB with its request comes in one piece. */
const readBytes = 128 * 1024
/** A frame up to this many times the limit is answered and skipped; beyond, the client is lost. */
const skipFactor = 16
const stopReason = 'the server stops'

export interface ServerSettings extends CommandSettings {
  readonly advertise: Endpoint
  readonly advertiseExternal: Endpoint
  readonly saslMechanisms: readonly SaslMechanism[]
  readonly loginTimeoutSeconds: number
  readonly outputBytesMax: number
  readonly frameBytesMax: number
}

export interface ServerOptions {
  readonly settings: ServerSettings
  readonly buckets: Buckets
  readonly dcp: DcpService
  readonly access: Access
  readonly audit: AuditLog
  readonly clock: Clock
  readonly log: Log
  /** Where HTTP is served. */
  readonly httpPorts: HttpPorts
}

/** Of the grace at a stop, how much of it durable writes are waited for. */
const patienceShare = 0.8

/** Listens for clients and owns their connections. */
export class Server {
  readonly counters = new OperationCounters()
  /** Of answers that are not read. */
  readonly budget: MemoryBudget
  /** Of requests that have arrived in part. */
  readonly intakeBudget: MemoryBudget
  readonly pressure = new WritePressure()
  /** What the cluster map says; the HTTP port is known only when that server listens. */
  readonly address: Address
  readonly maps: ClusterMaps
  /** What commands, and the management pages, reach of the daemon. */
  readonly node: Node
  readonly #settings: ServerSettings
  readonly #log: Log
  readonly #clock: Clock
  readonly #dcp: DcpService
  readonly #flushes: DelayedFlushes
  readonly #context: ServerContext
  readonly #connections = new Set<Connection>()
  readonly #watched = new WeakSet<Bucket>()
  readonly #listener: NetServer
  readonly #sweep: Timer
  #tlsListener: TlsListener | undefined
  readonly #forgetUsers: () => void
  #lastId = 0
  #closing: Promise<void> | undefined
  /** Called when the last connection is gone. */
  #onEmpty: (() => void) | undefined

  constructor(options: ServerOptions) {
    const { settings, buckets, dcp, access, audit, clock, log } = options
    this.#settings = settings
    this.#log = log
    this.#clock = clock
    this.#dcp = dcp
    this.address = { port: undefined, tlsPort: undefined, ...options.httpPorts }
    this.budget = budgetOf('leaves most answers unread', settings.outputBytesMax, log)
    this.intakeBudget = budgetOf('sends most in part', settings.frameBytesMax, log)
    this.#flushes = new DelayedFlushes(clock, log)
    this.maps = new ClusterMaps({ ...settings, clock, address: this.address })
    this.maps.events.on('changed', bucket => {
      for (const connection of this.#connections) connection.mapChanged(bucket)
    })
    const { address, maps, counters } = this
    const connections = this.#connections
    this.node = {
      buckets,
      dcp,
      access,
      audit,
      settings,
      clock,
      log,
      traffic: new TrafficSinceReset(counters),
      address,
      maps,
      flushes: this.#flushes,
      startedAtMs: clock.nowMs(),
      get connections() {
        return connections.size
      },
    }
    const slab = new OutputSlab()
    this.#context = {
      node: this.node,
      mechanisms: settings.saslMechanisms,
      readBuffer: Buffer.allocUnsafeSlow(readBytes),
      slab,
      turn: new Turn(slab),
      round: new AnswerRound(),
      budget: this.budget,
      intakeBudget: this.intakeBudget,
      pressure: this.pressure,
      counters,
      dispatcher: new Dispatcher(settings, counters),
      frameLimits: {
        maxBodyBytes: settings.frameBytesMax,
        skipBodyBytes: settings.frameBytesMax * skipFactor,
      },
      watchBucket: bucket => this.#watchBucket(bucket),
    }
    this.#forgetUsers = access.onChange(changes => {
      for (const connection of this.#connections) connection.usersChanged(changes)
    })
    this.#listener = createServer({ pauseOnConnect: true }, socket => {
      this.#accept(socket)
    })
    const timeoutMs = settings.loginTimeoutSeconds * 1000
    this.#sweep = clock.every(Math.min(1000, timeoutMs / 2), () => {
      for (const connection of this.#connections) connection.closeIfLate(timeoutMs)
    })
  }

  get connections(): number {
    return this.#connections.size
  }

  /** Fails as `net` does if the address cannot be had. */
  async listen(host: string, port: number): Promise<{ port: number }> {
    const listener = this.#listener
    listener.listen({ host, port, backlog: 1024 })
    await once(listener, 'listening')
    listener.on('error', err => this.#log.error({ err }, 'accepting connections failed'))
    const { port: found } = listener.address() as AddressInfo
    this.address.port = found
    return { port: found }
  }

  /** The same for clients that come by TLS. Fails with an OperatorError for files it cannot use. */
  async listenByTls(host: string, port: number, files: TlsFiles): Promise<{ port: number }> {
    this.#tlsListener = new TlsListener({
      files,
      connectionsMax: this.#settings.connectionsMax,
      handshakeTimeoutMs: this.#settings.loginTimeoutSeconds * 1000,
      access: this.node.access,
      clock: this.#clock,
      log: this.#log,
      accept: (socket, identity) => this.#accept(socket, identity),
    })
    const listening = await this.#tlsListener.listen(host, port)
    this.address.tlsPort = listening.port
    return listening
  }

  /** Takes new certificates at once, rather than when they are noticed. */
  reloadCertificates(): void {
    this.#tlsListener?.reload()
  }

  /**
   * Stops accepting and reading, answers what has been read, ends the streams, and closes the
   * connections; those that have not taken their last answers after `graceMs` are cut off.
   */
  close({ graceMs }: { graceMs: number }): Promise<void> {
    this.#closing ??= this.#close(graceMs)
    return this.#closing
  }

  async #close(graceMs: number): Promise<void> {
    this.#flushes.close()
    this.maps.close()
    this.#forgetUsers()
    this.#sweep.cancel()
    if (this.#listener.listening) this.#listener.close()
    this.#tlsListener?.close()
    // Those who still wait for the disk then have time left to take the answer.
    const patience = this.#clock.after(graceMs * patienceShare, () => this.#giveUpDurable())
    const timer = this.#clock.after(graceMs, () => {
      this.#log.warn({ connections: this.#connections.size }, 'cutting off clients at the stop')
      for (const connection of this.#connections) connection.abort(stopReason)
    })
    await Promise.all([...this.#connections].map(connection => connection.settle(stopReason)))
    // What has been answered goes out on the streams in their next turn, and before their end.
    await setImmediate()
    this.#dcp.close()
    for (const connection of this.#connections) connection.endAfterAnswers(stopReason)
    if (this.#connections.size > 0) await new Promise<void>(resolve => (this.#onEmpty = resolve))
    this.#tlsListener?.drop()
    patience.cancel()
    timer.cancel()
  }

  /** It is not known whether what was written will be durable; that is what clients are told. */
  #giveUpDurable(): void {
    const error = new Error('the daemon stops before the write is known to be durable')
    for (const bucket of this.#context.node.buckets.list()) bucket.giveUpDurable(error)
  }

  #accept(accepted: Socket, identity?: Identity): void {
    if (this.#connections.size >= this.#settings.connectionsMax) {
      this.counters.connectionsRefused++
      const { remoteAddress, remotePort } = accepted
      const remote = `${remoteAddress}:${remotePort}`
      const { connectionsMax } = this.#settings
      this.#log.warn({ remote, connectionsMax }, 'connection refused: the limit is reached')
      accepted.destroy()
      return
    }
    this.counters.connectionsAccepted++
    const connection = new Connection({
      context: this.#context,
      id: ++this.#lastId,
      accepted,
      identity,
      onClosed: gone => this.#forget(gone),
    })
    this.#connections.add(connection)
    if (identity !== undefined) this.node.access.loggedIn(identity, connection.origin)
  }

  #watchBucket(bucket: Bucket): void {
    if (this.#watched.has(bucket)) return
    this.#watched.add(bucket)
    this.maps.watch(bucket)
    bucket.events.once('deleted', () => {
      this.#flushes.cancel(bucket)
      for (const connection of this.#connections) connection.leaveBucket(bucket)
      this.pressure.drop(bucket)
    })
  }

  #forget(connection: Connection): void {
    this.#connections.delete(connection)
    if (this.#connections.size === 0) this.#onEmpty?.()
  }
}

/** The limit of one connection, and of all of them in proportion. */
function budgetOf(fault: string, connectionBytesMax: number, log: Log): MemoryBudget {
  const softBytes = connectionBytesMax * 8
  const hardBytes = connectionBytesMax * 32
  return new MemoryBudget({ connectionBytesMax, softBytes, hardBytes, fault, log })
}
