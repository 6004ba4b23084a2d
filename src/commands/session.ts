import type { Origin } from '../auth/audit.ts'
import type { Identity } from '../auth/identity.ts'
import type { Login } from '../auth/login.ts'
import type { Clock } from '../clock.ts'
import type { Producer } from '../dcp/producer.ts'
import type { DcpOutput } from '../dcp/output.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Log } from '../log.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { Documents } from '../vbucket/documents.ts'
import type { Command } from './command.ts'
import type { Features } from './features.ts'
import type { Node } from './node.ts'
import type { RequestFraming } from '../../protocol/framing.ts'
import type { SaslMechanism } from '../../protocol/sasl/index.ts'

/** Where answers are encoded. */
export interface Output {
  /** Look again after every `reserve`: it may be another one then. */
  readonly buffer: Buffer
  /** Makes room for `length` bytes, which the caller has to fill, and returns where they begin. */
  reserve(length: number): number
}

/** An answer in parts, for commands that are not worth encoding in place. */
export interface Reply {
  status?: number
  cas?: bigint
  extras?: Uint8Array
  key?: Uint8Array
  value?: Uint8Array | string
  datatype?: number
}

/** The place in the order of answers of a command that completes later. */
export interface Pending {
  /** Bytes of a whole answer; undefined answers nothing. */
  answer(status: number, bytes: Buffer | undefined): void
  /** Answers an error the way this client wants it. */
  fail(error: unknown): void
  reply(reply: Reply): void
}

/**
 * One client's connection as commands see it: who it is, what it negotiated, which bucket it uses.
 * The server implements it.
 */
export interface Session {
  readonly id: number
  readonly node: Node
  readonly clock: Clock
  readonly log: Log
  readonly output: Output
  /** What the client calls itself in HELLO; empty until then. */
  agent: string
  readonly origin: Origin
  readonly identity: Identity
  /** The name of `identity`; empty for somebody who has not logged in. */
  readonly user: string
  /** Bits of `Privilege`, in the bucket that is used. */
  readonly privileges: number
  /** What clients of this port may log in with. */
  readonly mechanisms: readonly SaslMechanism[]
  /** A login that has begun. */
  login: Login | undefined
  readonly features: Features
  readonly bucket: Bucket | undefined
  /** Of the bucket. Only for commands whose row asks for one. */
  readonly documents: Documents
  producer: Producer | undefined
  /** Whether the client chose a bucket, rather than being in the default one. */
  readonly hasSelectedBucket: boolean
  /** Framing extras of the request that is being run. */
  readonly requirements: RequestFraming
  /** Monotonic: when the request came in that is being run; only told to those who trace. */
  receivedMs: number
  /** Why the request that is being run is refused, for clients that asked for reasons. */
  errorContext: string
  /** The version of the cluster map that the client is known to have. */
  knownMapRevision: number

  selectBucket(bucket: Bucket | undefined): void
  /** The client is this user from now on, in the default bucket unless it has selected one. */
  logIn(identity: Identity): void
  /** The client is whoever it was at first, before it logs in anew. */
  logOut(): void
  /**
   * Calls `listener` when the client is gone and nobody waits for its answers any more, until the
   * returned function is called.
   */
  whenGone(listener: () => void): () => void
  /** Takes the place of the answer to `frame`; what is answered from now on queues behind it. */
  openPending(frame: Frame, command: Command): Pending
  /** Where a stream of this connection writes to. */
  readonly dcpOutput: DcpOutput
  /** The client says that it is done: its streams end for good, the connection closes. */
  quit(): void
  /** Closes the connection once all is answered; what comes in from now on is not read. */
  endAfterAnswers(reason: string): void
  /** Closes the connection with nothing more said. */
  abort(reason: string): void
}
