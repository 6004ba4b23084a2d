import type { Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { RequestFraming } from '../../protocol/framing.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeResponse } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame, FrameError } from '../../protocol/frame.ts'
import { saslMechanisms, type SaslMechanism } from '../../protocol/sasl/index.ts'
import type { Origin } from '../auth/audit.ts'
import { mayUse, type Identity } from '../auth/identity.ts'
import type { Login } from '../auth/login.ts'
import type { UserChanges } from '../auth/user-changes.ts'
import type { Timer } from '../clock.ts'
import { encodeMapChange } from '../commands/cluster-config.ts'
import { Privilege, type Command } from '../commands/command.ts'
import { Features } from '../commands/features.ts'
import type { Node } from '../commands/node.ts'
import type { Output, Pending, Session } from '../commands/session.ts'
import type { Producer } from '../dcp/producer.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { defaultBucketName } from '../vbucket/buckets.ts'
import type { Documents } from '../vbucket/documents.ts'
import type { ServerContext } from './context.ts'
import { SocketDcpOutput } from './dcp-output.ts'
import { Intake, Pause } from './intake.ts'
import { PendingAnswer } from './pending-answer.ts'
import { ResponseWriter } from './response-writer.ts'
import { adoptSocket } from './socket-adoption.ts'

export interface ConnectionOptions {
  readonly context: ServerContext
  readonly id: number
  readonly accepted: Socket
  /** Who it is, if it need not log in any more. */
  readonly identity?: Identity | undefined
  readonly onClosed: (connection: Connection) => void
}

/** How long a client that is being closed may take nothing of its last answers. */
const lingerMs = 10_000
const keepAliveMs = 60_000

/**
 * One client: what it negotiated, and how its connection begins and ends. Its requests come in by
 * the intake, its answers leave by the writer. `Session` is the side of it that commands see.
 */
export class Connection implements Session {
  readonly id: number
  readonly node: Node
  readonly remote: string
  readonly features = new Features()
  readonly requirements = new RequestFraming()
  /** Whether `requirements` holds anything. */
  hasRequirements = false
  readonly origin: Origin
  readonly mechanisms: readonly SaslMechanism[]
  identity: Identity
  privileges: number = Privilege.none
  login: Login | undefined
  readonly dcpOutput: SocketDcpOutput
  agent = ''
  errorContext = ''
  receivedMs = 0
  knownMapRevision = 0
  producer: Producer | undefined
  bucket: Bucket | undefined
  hasSelectedBucket = false
  documents!: Documents

  readonly #context: ServerContext
  readonly #socket: Socket
  readonly #writer: ResponseWriter
  readonly #intake: Intake
  readonly #goneListeners = new Set<() => void>()
  /** Opcodes refused for lack of rights so far: each is written down once. */
  #denied: Set<number> | undefined
  readonly #onClosed: (connection: Connection) => void
  /** Since when nobody has been logged in, if nobody is. */
  #strangerSinceMs: number
  #lingering: Timer | undefined
  #quitCleanly = false
  /** The client is to be told of a new map once it has read what it was sent. */
  #owesMap = false
  #closeReason = ''
  #onSettled: (() => void) | undefined

  constructor({ context, id, accepted, identity, onClosed }: ConnectionOptions) {
    this.#context = context
    this.id = id
    this.node = context.node
    this.remote = `${accepted.remoteAddress}:${accepted.remotePort}`
    const isEncrypted = accepted instanceof TLSSocket
    const via = isEncrypted ? 'kv-tls' : 'kv'
    this.origin = { address: accepted.remoteAddress ?? '', via, connection: id }
    // Where it is encrypted, a password may cross the wire.
    this.mechanisms = isEncrypted ? saslMechanisms : context.mechanisms
    this.identity = identity ?? this.node.access.stranger
    this.#strangerSinceMs = this.clock.monotonicMs()
    this.#onClosed = onClosed
    const { readBuffer: buffer, budget, counters, slab, round } = context
    this.#socket = adoptSocket(accepted, { buffer, callback: length => this.#intake.read(length) })
    this.#writer = new ResponseWriter({
      id,
      socket: this.#socket,
      copies: isEncrypted,
      budget,
      counters,
      round,
      onProgress: () => this.#progressed(),
      onEvict: reason => this.abort(reason),
    })
    this.#intake = new Intake({
      context,
      connection: this,
      writer: this.#writer,
      onPause: () => this.#socket.pause(),
      onResume: () => this.#socket.resume(),
      onBatch: error => this.#afterBatch(error),
      onEvict: reason => this.abort(reason),
    })
    const end = (reason: string) => this.endAfterAnswers(reason)
    this.dcpOutput = new SocketDcpOutput(this.#writer, slab, end)
    this.#enterDefaultBucket()
    this.#intake.trust(this.privileges !== Privilege.none)
    this.#socket.setNoDelay(true)
    this.#socket.setKeepAlive(true, keepAliveMs)
    this.#socket.on('end', () => this.endAfterAnswers('closed by the client'))
    this.#socket.on('error', error => this.#failed(error))
    this.#socket.on('close', () => this.#cleanUp())
  }

  get clock() {
    return this.node.clock
  }
  get log() {
    return this.node.log
  }
  get output(): Output {
    return this.#context.slab
  }
  get user(): string {
    return this.identity.name
  }

  selectBucket(bucket: Bucket | undefined): void {
    this.#enterBucket(bucket)
    this.hasSelectedBucket = bucket !== undefined
  }

  logIn(identity: Identity): void {
    // It took a while: the client, or the user, may be gone by now.
    if (this.#socket.destroyed) return
    this.#assume(identity)
    if (!this.hasSelectedBucket) this.#enterDefaultBucket()
    this.log.debug({ connection: this.id, user: identity.name }, 'logged in')
  }

  logOut(): void {
    this.login = undefined
    this.#assume(this.node.access.stranger)
  }

  /** Users have changed: rights change at once, and who may not be here any more has to go. */
  usersChanged({ ended }: UserChanges): void {
    const { user } = this
    const identity = this.node.access.renewed(this.identity)
    if (identity === undefined || (user !== '' && ended.includes(user))) {
      this.abort('its user is gone or has a new password')
      return
    }
    const { bucket } = this
    this.#assume(identity)
    const hasLostStreams = this.producer !== undefined && !(this.privileges & Privilege.dcp)
    if (hasLostStreams || this.bucket !== bucket)
      this.abort('its user lost the right to the bucket')
  }

  /** Closes it if its client has taken too long to log in, or to send the rest of a request. */
  closeIfLate(timeoutMs: number): void {
    const nowMs = this.clock.monotonicMs()
    const isStranger = this.privileges === Privilege.none
    const halfSentMs = this.#intake.halfSentMs(nowMs)
    if (isStranger && nowMs - this.#strangerSinceMs >= timeoutMs) this.#abortLate('not logged in')
    else if (halfSentMs >= timeoutMs) this.#abortLate('a request was left half sent')
  }

  #abortLate(reason: string): void {
    this.#context.counters.connectionsLate++
    this.abort(`${reason} in time`)
  }

  /** Refuses a command for which rights are lacking. */
  deny({ opcode, name }: Command): Status {
    const isStranger = this.privileges === Privilege.none
    this.errorContext = isStranger ? `log in before ${name}` : `your roles do not include ${name}`
    this.#denied ??= new Set()
    if (!this.#denied.has(opcode)) {
      this.#denied.add(opcode)
      const { user, origin, bucket } = this
      this.node.audit.record('refused', { command: name, user, bucket: bucket?.name, ...origin })
    }
    return Status.accessDenied
  }

  whenGone(listener: () => void): () => void {
    this.#goneListeners.add(listener)
    return () => this.#goneListeners.delete(listener)
  }

  openPending(frame: Frame, command: Command): Pending {
    this.#context.slab.flush()
    return new PendingAnswer(this, this.#writer, this.#context.counters, frame, command)
  }

  quit(): void {
    this.#quitCleanly = true
    this.endAfterAnswers('quit')
  }

  endAfterAnswers(reason: string): void {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#intake.stop(Pause.ending)
    // In the middle of a batch its answers are still to be encoded; its end comes back here.
    if (this.#context.slab.target !== this.#writer) this.#endIfAnswered()
  }

  abort(reason: string): void {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#socket.destroy()
  }

  /** The bucket has been deleted. */
  leaveBucket(bucket: Bucket): void {
    if (this.bucket === bucket) this.selectBucket(undefined)
  }

  /** The cluster map of a bucket has changed. */
  mapChanged(bucket: Bucket): void {
    if (this.bucket !== bucket || this.features.mapPushes === 'none') return
    this.#owesMap = true
    this.#pushMap()
  }

  /** Reads nothing more; resolves once what has been read is answered, or the client is gone. */
  settle(reason: string): Promise<void> {
    if (this.#closeReason === '') this.#closeReason = reason
    this.#intake.stop(Pause.settling)
    this.#context.slab.flush()
    if (this.#writer.isInOrder) return Promise.resolve()
    return new Promise(resolve => (this.#onSettled = resolve))
  }

  /** An answer to what this server asked: only streams ask. */
  takeResponse(frame: Frame): void {
    if (frame.magic === Magic.serverRequest) this.endAfterAnswers('a request only servers make')
    else if (frame.opcode === Opcode.dcpNoop) this.producer?.noopAnswered(frame.opaque)
  }

  /** Of the maps that come while the client does not read, it is sent the last one. */
  #pushMap(): void {
    if (this.#writer.unreadBytes > 0 || this.#intake.isEnding) return
    this.#owesMap = false
    const change = encodeMapChange(this)
    if (change !== undefined) this.dcpOutput.write(change)
  }

  #afterBatch(error: FrameError | undefined): void {
    if (error !== undefined) this.#refuse(error)
    if (this.#intake.isEnding) this.#endIfAnswered()
  }

  #progressed(): void {
    this.#intake.progressed()
    if (this.#owesMap) this.#pushMap()
    if (this.#writer.isInOrder) this.#onSettled?.()
    if (this.#intake.isEnding) this.#endIfAnswered()
    if (this.#lingering !== undefined) this.#linger()
    this.dcpOutput.onDrain?.()
  }

  #linger(): void {
    this.#lingering?.cancel()
    this.#lingering = this.clock.after(lingerMs, () => this.#socket.destroy())
  }

  /** What came in cannot be cut into frames any more. */
  #refuse(error: FrameError): void {
    this.#context.counters.framesRefused++
    this.log.warn({ connection: this.id, remote: this.remote, ...error }, 'closing: no valid frame')
    if (error.kind === 'too-large') {
      const { opcode, opaque } = error
      this.#context.slab.flush()
      this.#writer.deliver(encodeResponse({ opcode, opaque, status: Status.tooLarge }), true)
    }
    this.endAfterAnswers(`frame refused: ${error.kind}`)
  }

  #endIfAnswered(): void {
    this.#context.slab.flush()
    if (!this.#writer.isInOrder || this.#socket.writableEnded) return
    // Streams would go on writing to a socket that takes nothing more.
    this.producer?.disconnected(this.#quitCleanly)
    this.#socket.end()
    this.#linger()
    // What the client still sends is thrown away, so that its end is noticed.
    this.#socket.resume()
  }

  #failed(error: Error): void {
    this.log.debug({ connection: this.id, err: error }, 'socket failed')
    if (this.#closeReason === '') this.#closeReason = error.message
  }

  /** Plain memcached clients know no other. */
  #enterDefaultBucket(): void {
    const isAllowed = mayUse(this.identity, defaultBucketName)
    this.#enterBucket(isAllowed ? this.node.buckets.get(defaultBucketName) : undefined)
  }

  #assume(identity: Identity): void {
    if (this.privileges !== Privilege.none) this.#strangerSinceMs = this.clock.monotonicMs()
    this.identity = identity
    const { bucket } = this
    if (bucket !== undefined && !mayUse(identity, bucket.name)) this.selectBucket(undefined)
    else this.privileges = identity.privilegesIn(bucket?.name)
    this.#intake.trust(this.privileges !== Privilege.none)
  }

  #enterBucket(bucket: Bucket | undefined): void {
    if (this.bucket !== undefined) {
      this.#context.pressure.forget(this.bucket, this.#intake)
      this.#intake.relieve()
    }
    this.bucket = bucket
    this.privileges = this.identity.privilegesIn(bucket?.name)
    if (bucket === undefined) return
    this.documents = bucket.documents
    this.#context.watchBucket(bucket)
  }

  #cleanUp(): void {
    for (const listener of this.#goneListeners) listener()
    this.#intake.close()
    this.#lingering?.cancel()
    this.#lingering = undefined
    this.#enterBucket(undefined)
    this.#writer.release()
    this.producer?.disconnected(this.#quitCleanly)
    this.producer = undefined
    this.#onSettled?.()
    this.log.debug(
      { connection: this.id, remote: this.remote, reason: this.#closeReason },
      'connection closed',
    )
    this.#onClosed(this)
  }
}
