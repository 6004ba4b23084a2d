/**
 * The small chunks that one turn of the event loop has read, from all connections, kept until its
 * end and run together there. Their answers leave at that moment anyway. What they look for is
 * then read ahead for all of them (look-ahead.ts), and the code that reads sockets and the code that
 * runs requests take turns in the processor's caches once for each turn instead of once for each
 * request.
 */
import { runTurn } from '../turn-end.ts'
import type { ChangeLog } from '../vbucket/change-log.ts'
import { lookAhead } from './look-ahead.ts'
import type { OutputSlab } from './output-slab.ts'

const bufferBytes = 64 * 1024
/** Larger ones are run at once: to copy them would cost more than is gained. */
const chunkBytesMax = 2 * 1024
/** Below this a loop is faster than a call. */
const loopedBytesMax = 64

/** A connection's side. */
export interface TurnReader {
  /** Where most of its requests look things up. */
  readonly changes: ChangeLog | undefined
  /** Whether the keys of its requests begin with their collection. */
  readonly hasCollections: boolean
  /** Runs a chunk that `Turn.keep` has taken. */
  runKept(chunk: Buffer): void
}

export class Turn {
  readonly #slab: OutputSlab
  readonly #buffer = Buffer.allocUnsafeSlow(bufferBytes)
  /** The first `#count` are of this turn; emptying an array would make it grow anew each time. */
  readonly #readers: (TurnReader | undefined)[] = []
  /** Where in the buffer the chunk of each reader ends. */
  readonly #ends: number[] = []
  #count = 0
  #used = 0
  #isRunning = false

  constructor(slab: OutputSlab) {
    this.#slab = slab
  }

  /** Takes the first `length` bytes of a chunk; false: its reader has to run it now. */
  keep(reader: TurnReader, chunk: Buffer, length: number): boolean {
    const at = this.#used
    if (length > chunkBytesMax || at + length > bufferBytes || this.#isRunning) return false
    const buffer = this.#buffer
    if (length > loopedBytesMax) chunk.copy(buffer, at, 0, length)
    else for (let i = 0; i < length; i++) buffer[at + i] = chunk[i]!
    this.#used = at + length
    this.#ends[this.#count] = this.#used
    this.#readers[this.#count] = reader
    if (++this.#count === 1) setImmediate(this.#end)
    return true
  }

  /** Runs what was kept. Whoever wants to go past it, or ends a connection, does this first. */
  run(): void {
    const readers = this.#readers
    const count = this.#count
    if (count === 0 || this.#isRunning) return
    this.#isRunning = true
    // Taken to be alike, as nearly always they are: for others it is a guess that misses.
    const { changes, hasCollections } = readers[0]!
    if (count > 1 && changes !== undefined) {
      lookAhead(this.#buffer, this.#used, changes, hasCollections)
    }
    let begin = 0
    for (let i = 0; i < count; i++) {
      const end = this.#ends[i]!
      readers[i]!.runKept(this.#buffer.subarray(begin, end))
      readers[i] = undefined
      begin = end
    }
    this.#count = 0
    this.#used = 0
    this.#isRunning = false
  }

  readonly #end = (): void => runTurn(this.#runAndAnswer)

  readonly #runAndAnswer = (): void => {
    this.run()
    this.#slab.flush()
  }
}
