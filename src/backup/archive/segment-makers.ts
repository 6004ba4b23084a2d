import { Worker } from 'node:worker_threads'
import {
  SegmentBuilder,
  type RawBlock,
  type Segment,
  type SegmentMaker,
  type SegmentOptions,
} from './segment-builder.ts'
import type { FromSegmentThread, ToSegmentThread } from './segment-messages.ts'
import type { SpareBlocks } from './spare-blocks.ts'

/** What comes before is made here: to start the thread would take longer than it saves. */
const defaultBytesBeforeThread = 4 * 1024 * 1024

interface Waiting {
  readonly done: (segment: Segment | undefined) => void
  readonly failed: (error: Error) => void
}

/**
 * Makes segments for all vbuckets of a backup: of a small backup here, of what follows in a thread,
 * so that the main thread is left to the stream.
 */
export class SegmentMakers {
  readonly #spareBlocks: SpareBlocks
  readonly #bytesBeforeThread: number
  readonly #waiting = new Map<number, Waiting>()
  #worker: Worker | undefined
  #failure: Error | undefined
  #bytes = 0
  #objects = 0
  /** Memory of segments that goes back with the next block. */
  #released: Uint8Array[] = []

  constructor(spareBlocks: SpareBlocks, bytesBeforeThread = defaultBytesBeforeThread) {
    this.#spareBlocks = spareBlocks
    this.#bytesBeforeThread = bytesBeforeThread
  }

  /** For one object. */
  maker(options: SegmentOptions): SegmentMaker {
    if (this.#bytes >= this.#bytesBeforeThread) return this.#remoteMaker(options)
    const builder = new SegmentBuilder(options, memory => this.#spareBlocks.give(memory))
    return {
      add: block => {
        this.#bytes += block.length
        return builder.add(block)
      },
      end: () => builder.end(),
    }
  }

  /** What was asked of the thread is not answered any more. */
  async close(): Promise<void> {
    this.#failed(new Error('the thread that makes segments was ended'))
    await this.#worker?.terminate()
  }

  #remoteMaker(options: SegmentOptions): SegmentMaker {
    const object = ++this.#objects
    let first: SegmentOptions | undefined = options
    return {
      add: ({ memory, ...block }: RawBlock) => {
        const message = {
          type: 'add',
          object,
          options: first,
          block: { ...block, memory },
          released: this.#released,
        } as const
        first = undefined
        this.#released = []
        return this.#ask(message, buffersOf([memory, ...message.released]))
      },
      end: () => (first ? Promise.resolve(undefined) : this.#ask({ type: 'end', object }, [])),
    }
  }

  #ask(
    message: ToSegmentThread,
    transferred: readonly ArrayBuffer[],
  ): Promise<Segment | undefined> {
    return new Promise((done, failed) => {
      if (this.#failure) return failed(this.#failure)
      this.#waiting.set(message.object, { done, failed })
      this.#worker ??= this.#start()
      this.#worker.postMessage(message, transferred)
    })
  }

  #start(): Worker {
    const worker = new Worker(new URL('./segment-worker.js', import.meta.url), { execArgv: [] })
    worker.on('message', (answer: FromSegmentThread) => this.#answered(answer))
    worker.on('error', error => this.#failed(error as Error))
    worker.on('exit', code => this.#failed(new Error(`a thread has ended with code ${code}`)))
    return worker
  }

  #answered({ object, segment, freed, error }: FromSegmentThread): void {
    for (const memory of freed)
      this.#spareBlocks.give(Buffer.from(memory.buffer, memory.byteOffset, memory.length))
    const waiting = this.#waiting.get(object)
    this.#waiting.delete(object)
    if (error) return waiting?.failed(error)
    if (!segment) return waiting?.done(undefined)
    const { bytes, ...rest } = segment
    const chunk = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    let isReleased = false
    const release = () => {
      if (!isReleased) this.#released.push(bytes)
      isReleased = true
    }
    waiting?.done({ ...rest, chunks: [chunk], release })
  }

  #failed(error: Error): void {
    this.#failure ??= error
    for (const { failed } of this.#waiting.values()) failed(this.#failure)
    this.#waiting.clear()
  }
}

function buffersOf(memory: readonly Uint8Array[]): ArrayBuffer[] {
  return memory.map(({ buffer }) => buffer as ArrayBuffer)
}
