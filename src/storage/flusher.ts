/**
 * The main thread's side of the flusher: gathers steps while a batch is being written and sends
 * them as the next one as soon as it is done, so that the slower the disk, the larger the batch.
 *
 * A batch that fails (disk or map full) is kept and sent again every `retryMs` until it succeeds:
 * nothing that was queued is lost while the process lives. Until then `failure` says why.
 */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../clock.ts'
import { OperatorError } from '../errors.ts'
import type { Log } from '../log.ts'
import type {
  CommittedBatch,
  FlusherStart,
  FlushStep,
  FromFlusher,
  PurgeRequest,
  PurgeResult,
  ToFlusher,
} from './flusher-messages.ts'

export interface FlusherOptions extends FlusherStart {
  clock: Clock
  log: Log
  retryMs: number
  /** Position up to which the log has been written by the main thread. */
  logEnd(): number
  /** Called once for each batch that is on disk, with the log position that it reached. */
  onCommitted(batch: CommittedBatch, upTo: number): void
  /** The state of `failure` has changed. */
  onFailure(failure: OperatorError | undefined): void
}

type Waiter = { position: number; steps: number; done: () => void }

export class Flusher {
  readonly #options: FlusherOptions
  readonly #worker: Worker
  readonly #purges = new Map<number, (result: PurgeResult) => void>()
  #pending: FlushStep[] = []
  #inFlight: FlushStep[] | undefined
  #inFlightUpTo = 0
  #appliedUpTo: number
  #scheduled = false
  #retry: Timer | undefined
  #closed = false
  #nextId = 1
  #stepsQueued = 0
  #stepsDone = 0
  #stepsInFlight = 0
  readonly #waiters: Waiter[] = []
  failure: OperatorError | undefined

  private constructor(options: FlusherOptions, worker: Worker) {
    this.#options = options
    this.#worker = worker
    this.#appliedUpTo = options.logEnd()
    worker.on('message', (message: FromFlusher) => this.#receive(message))
    worker.on('error', error => {
      // Its state is unknown: going on could acknowledge what is not on disk.
      throw error
    })
  }

  static async start(options: FlusherOptions): Promise<Flusher> {
    const { directories, mapSizeBytes, readerSlotsMax } = options
    const workerData: FlusherStart = { directories, mapSizeBytes, readerSlotsMax }
    const worker = new Worker(new URL('./flusher-worker.js', import.meta.url), { workerData })
    await once(worker, 'message')
    return new Flusher(options, worker)
  }

  addSegment(number: number, memory: SharedArrayBuffer): void {
    this.#send({ kind: 'segment', number, memory })
  }

  releaseSegment(number: number): void {
    this.#send({ kind: 'release', number })
  }

  /** The log has grown: write it as soon as the batch under way is done. */
  touch(): void {
    if (this.#scheduled || this.#inFlight !== undefined) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#next()
    })
  }

  /** Queues a step behind everything appended to the log so far. */
  step(step: Exclude<FlushStep, { kind: 'apply' }>): void {
    this.#pushApply()
    this.#pending.push(step)
    this.#stepsQueued++
    this.touch()
  }

  purge(request: PurgeRequest): Promise<PurgeResult> {
    const id = this.#nextId++
    this.step({ kind: 'purge', id, request })
    return new Promise(resolve => this.#purges.set(id, resolve))
  }

  /** Resolves when every step and change queued so far is on disk. */
  drained(): Promise<void> {
    const position = this.#options.logEnd()
    if (this.#isDone(position, this.#stepsQueued)) return Promise.resolve()
    this.touch()
    return new Promise(done => {
      this.#waiters.push({ position, steps: this.#stepsQueued, done })
    })
  }

  /** Stops the thread; call `drained` first unless what is queued may be lost. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#retry?.cancel()
    const exit = once(this.#worker, 'exit')
    this.#worker.postMessage({ kind: 'close' } satisfies ToFlusher)
    await exit
  }

  #isDone(position: number, steps: number): boolean {
    return this.#appliedUpTo >= position && this.#stepsDone >= steps
  }

  #send(message: ToFlusher): void {
    if (!this.#closed) this.#worker.postMessage(message)
  }

  #pushApply(): void {
    const upTo = this.#options.logEnd()
    const last = this.#pending.at(-1)
    if (last?.kind === 'apply') last.upTo = upTo
    else this.#pending.push({ kind: 'apply', upTo })
  }

  #next(): void {
    if (this.#inFlight !== undefined || this.#closed) return
    const upTo = this.#options.logEnd()
    if (upTo === this.#appliedUpTo && this.#pending.length === 0) return
    this.#pushApply()
    this.#inFlight = this.#pending
    this.#inFlightUpTo = upTo
    this.#stepsInFlight = this.#inFlight.filter(step => step.kind !== 'apply').length
    this.#pending = []
    this.#send({ kind: 'batch', steps: this.#inFlight })
  }

  #receive(message: FromFlusher): void {
    if (message.kind === 'committed') this.#committed(message)
    else if (message.kind === 'failed') this.#failed(message)
  }

  #committed(batch: CommittedBatch): void {
    this.#inFlight = undefined
    this.#appliedUpTo = this.#inFlightUpTo
    this.#stepsDone += this.#stepsInFlight
    this.#setFailure(undefined)
    this.#options.onCommitted(batch, this.#appliedUpTo)
    for (const result of batch.purged) {
      this.#purges.get(result.id)?.(result)
      this.#purges.delete(result.id)
    }
    while (this.#waiters.length > 0) {
      const waiter = this.#waiters[0]!
      if (!this.#isDone(waiter.position, waiter.steps)) break
      this.#waiters.shift()
      waiter.done()
    }
    this.#next()
  }

  #failed(message: { code: string; message: string; hint: string }): void {
    this.#setFailure(new OperatorError(message.code, message.message, message.hint))
    this.#retry = this.#options.clock.after(this.#options.retryMs, () => {
      if (this.#inFlight) this.#send({ kind: 'batch', steps: this.#inFlight })
    })
  }

  #setFailure(failure: OperatorError | undefined): void {
    const changed = failure?.message !== this.failure?.message
    this.failure = failure
    if (!changed) return
    const { log } = this.#options
    if (failure) {
      const { code, hint } = failure
      log.error({ code, hint }, `cannot write to disk, will try again: ${failure.message}`)
    } else log.info({}, 'writing to disk works again')
    this.#options.onFailure(failure)
  }
}
