import { Datatype } from '../../protocol/datatype.ts'
import { opcodeName } from '../../protocol/opcode.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Opcode } from '../../protocol/opcode.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { preserving } from './preserving.ts'
import { reorderable } from './reordering.ts'
import type { Reply, Session } from './session.ts'

export { Privilege } from '../auth/privilege.ts'

/**
 * What a command works on and hence what is checked before it runs: nothing, a selected bucket, a
 * vbucket in any state, or one that is served here (active) or kept for another node (replica).
 */
export type Target = 'node' | 'bucket' | 'vbucket' | 'active' | 'replica'

/**
 * How a command ended. A status other than success is answered by the dispatcher, unless
 * `answered` is added to it. Success means that the command has answered, or, being quiet, has
 * nothing to say.
 */
export type Outcome = number

export const answered = 0x1_0000
/** A place in the order of answers has been taken; the status will be known later. */
export const pending = 0x2_0000

/** Runs at once. `vbucket` is undefined for commands that are not about one. */
export type Run = (session: Session, frame: Frame, vbucket: Vbucket, command: Command) => Outcome

/** Completes later; the frame is the command's own copy. */
export type RunLater = (session: Session, frame: Frame, vbucket: Vbucket) => Promise<Reply>

export interface CommandRow {
  readonly opcode: Opcode
  /** Allowed lengths of the extras. */
  readonly extras: readonly number[]
  readonly key: 'none' | 'optional' | 'required'
  readonly value: 'none' | 'optional' | 'required'
  /** Only of requests that must not carry a CAS. */
  readonly cas?: 'none'
  readonly target: Target
  /** Bits of `Privilege`, all of which are needed. */
  readonly privilege: number
  /** What is not answered: `success` of a mutation, `miss` of a read; errors always are. */
  readonly quiet?: 'success' | 'miss'
  /** Changes documents: held back when the disk cannot keep up. */
  readonly writes?: true
  /** Runs when all before it are answered, and nothing after it runs before it is. */
  readonly barrier?: true
  /** Takes so long that others are served after each few of them. */
  readonly slow?: true
  /** Answers carry the key, also that of a miss. */
  readonly echoesKey?: true
  /** The value may begin with extended attributes. */
  readonly takesXattrs?: true
  /** The value may be compressed. */
  readonly takesSnappy?: true
  readonly run?: Run
  readonly runLater?: RunLater
}

/** A row in the form that the dispatcher reads: all of one shape. */
export class Command {
  readonly opcode: Opcode
  readonly name: string
  readonly extras: readonly number[]
  /** The first allowed length, which nearly all requests have. */
  readonly extrasUsual: number
  readonly keyMin: number
  readonly takesKey: boolean
  readonly valueMin: number
  readonly takesValue: boolean
  readonly takesCas: boolean
  readonly target: Target
  /** It names a document, whose sizes are limited. */
  readonly isDocument: boolean
  /** Its key is that of a document, and gets the id of its collection in front. */
  readonly hasDocumentKey: boolean
  readonly privilege: number
  readonly quietSuccess: boolean
  readonly quietMiss: boolean
  readonly writes: boolean
  readonly barrier: boolean
  /** Its answer may be overtaken, where that is negotiated. */
  readonly reorders: boolean
  /** It can be asked to keep the expiry a document has. */
  readonly preservesExpiry: boolean
  readonly slow: boolean
  readonly echoesKey: boolean
  readonly datatypes: number
  readonly run: Run | undefined
  readonly runLater: RunLater | undefined

  constructor(row: CommandRow) {
    this.opcode = row.opcode
    this.name = opcodeName(row.opcode)
    this.extras = row.extras
    this.extrasUsual = row.extras[0]!
    this.keyMin = row.key === 'required' ? 1 : 0
    this.takesKey = row.key !== 'none'
    this.valueMin = row.value === 'required' ? 1 : 0
    this.takesValue = row.value !== 'none'
    this.takesCas = row.cas !== 'none'
    this.target = row.target
    this.isDocument = row.target !== 'node' && row.target !== 'bucket'
    this.hasDocumentKey = this.isDocument && this.takesKey
    this.privilege = row.privilege
    this.quietSuccess = row.quiet === 'success'
    this.quietMiss = row.quiet === 'miss'
    this.writes = row.writes === true
    this.barrier = row.barrier === true
    this.reorders = reorderable.has(row.opcode)
    this.preservesExpiry = preserving.has(row.opcode)
    this.slow = row.slow === true
    this.echoesKey = row.echoesKey === true
    this.datatypes =
      Datatype.json |
      (row.takesXattrs === true ? Datatype.xattr : 0) |
      (row.takesSnappy === true ? Datatype.snappy : 0)
    this.run = row.run
    this.runLater = row.runLater
  }
}
