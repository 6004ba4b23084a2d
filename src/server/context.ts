import type { SaslMechanism } from '../../protocol/sasl/index.ts'
import type { FrameReaderOptions } from '../../protocol/frame-reader.ts'
import type { Node } from '../commands/node.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import type { AnswerRound } from './answer-round.ts'
import type { Dispatcher } from './dispatcher.ts'
import type { OperationCounters } from './operation-counters.ts'
import type { MemoryBudget } from './memory-budget.ts'
import type { OutputSlab } from './output-slab.ts'
import type { Turn } from './turn.ts'
import type { WritePressure } from './write-pressure.ts'

/** What all connections of a server share. */
export interface ServerContext {
  readonly node: Node
  /** What clients of the plain port may log in with. */
  readonly mechanisms: readonly SaslMechanism[]
  /** Every socket reads into it; what is cut by its end is copied by the frame reader. */
  readonly readBuffer: Buffer
  readonly slab: OutputSlab
  readonly turn: Turn
  readonly round: AnswerRound
  /** Of answers that are not read. */
  readonly budget: MemoryBudget
  /** Of requests that have arrived in part. */
  readonly intakeBudget: MemoryBudget
  readonly pressure: WritePressure
  readonly counters: OperationCounters
  readonly dispatcher: Dispatcher
  readonly frameLimits: FrameReaderOptions
  /** A connection works on this bucket: it has to hear when the bucket is gone. */
  readonly watchBucket: (bucket: Bucket) => void
}
