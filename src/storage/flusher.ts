/**
 * The main thread's side of the flusher: gathers what is to be written and sends it as one batch.
 * When somebody waits for it, the next batch follows as soon as the last one is done, so that the
 * slower the disk, the larger the batch. When nobody does, it is given `gatherMs` to grow: a commit
 * costs the same for one document as for a thousand. While the journal makes changes durable it may
 * grow for several times as long.
 *
 * A batch that fails (disk or map full) is kept and sent again every `retryMs` until it succeeds:
 * nothing that was queued is lost while the process lives. Until then `failure` says why. What of
 * it is on disk already, the thread remembers.
 */
import type { Worker } from 'node:worker_threads'
import type { Clock, Timer } from '../clock.ts'
import { Status } from '../../protocol/status.ts'
import { OperatorError, StatusError } from '../errors.ts'
import type { Log } from '../log.ts'
import { FlusherPause } from './flusher-pause.ts'
import type {
  Adoption,
  CommittedBatch,
  EraseRequest,
  EraseResult,
  FlusherStart,
  FlushStep,
  FromFlusher,
  PurgeRequest,
  PurgeResult,
  ToFlusher,
} from './flusher-messages.ts'
import { ended, started, startThread } from './worker-life.ts'

export interface FlusherOptions extends FlusherStart {
  clock: Clock
  log: Log
  retryMs: number
  /** How long changes that nobody waits for are gathered. */
  gatherMs: number
  /** Bytes that pinned snapshots keep from reuse now, by environment. */
  heldBytes: () => number[]
  /** Whether a commit that nobody waits for may be put off for as long again. */
  postponesCommit(): boolean
  /** Position up to which the log has been written by the main thread. */
  logEnd(): number
  /** Called once for each batch that is on disk, with the log position that it reached. */
  onCommitted(batch: CommittedBatch, upTo: number): void
  /** Called when `failure` has changed. */
  onFailure(): void
}

interface Waiter {
  position: number
  steps: number
  done: () => void
  fail: (error: Error) => void
}

/** Of a step that brings a result. */
interface ResultWaiter<Result> {
  /** Called before anybody sees what the step has left. */
  onDone: (result: Result) => void
  done: (result: Result) => void
  fail: (error: Error) => void
}

/** Steps that make, change or end a vbucket. */
const changesVbuckets: ReadonlySet<string> = new Set(['vbucket', 'drop', 'clear'])

export class Flusher {
  readonly #options: FlusherOptions
  readonly #worker: Worker
  readonly #purges = new Map<number, ResultWaiter<PurgeResult>>()
  readonly #erasures = new Map<number, ResultWaiter<EraseResult>>()
  #pending: FlushStep[] = []
  #inFlight: FlushStep[] | undefined
  #inFlightUpTo = 0
  #appliedUpTo: number
  #scheduled = false
  #gathering: Timer | undefined
  /** Somebody waits for what the batch under way does not bring. */
  #isHurried = false
  /** The same, of somebody who must not be kept waiting by a pause. */
  #isAwaited = false
  #retry: Timer | undefined
  #pause: FlusherPause | undefined
  #onAdopted: ((adoption: Adoption) => void) | undefined
  #closed = false
  #nextId = 1
  #stepsQueued = 0
  #stepsDone = 0
  #stepsInFlight = 0
  /** How many steps had been queued with the last one that makes, changes or ends a vbucket. */
  #vbucketStepsUpTo = 0
  readonly #waiters: Waiter[] = []
  failure: OperatorError | undefined
  /** Resolves when the thread has opened the store; fails when it cannot. */
  readonly ready: Promise<void>

  constructor(options: FlusherOptions) {
    this.#options = options
    this.#appliedUpTo = options.logEnd()
    const { directories, mapSizeBytes, readerSlotsMax, mappedBytesMax } = options
    const workerData: FlusherStart = { directories, mapSizeBytes, readerSlotsMax, mappedBytesMax }
    this.#worker = startThread('./flusher-worker.js', workerData)
    this.ready = started(this.#worker)
    this.#worker.on('message', (message: FromFlusher) => this.#receive(message))
  }

  addSegment(number: number, memory: SharedArrayBuffer): void {
    this.#send({ kind: 'segment', number, memory })
  }

  releaseSegment(number: number): void {
    this.#send({ kind: 'release', number })
  }

  /** The log has grown: write it in a while. */
  touch(): void {
    if (this.#gathering !== undefined || this.#scheduled || this.#inFlight !== undefined) return
    const { clock, gatherMs } = this.#options
    if (gatherMs === 0) return this.#writeSoon()
    this.#gathering = clock.after(gatherMs, () => {
      this.#gathering = undefined
      if (this.#options.postponesCommit()) this.touch()
      else this.#next()
    })
  }

  /** Somebody waits: write what there is as soon as the batch under way is done. */
  hurry(): void {
    this.#isAwaited = true
    this.#pause?.wanted()
    this.#writeSoon()
  }

  #writeSoon(): void {
    this.#isHurried = true
    if (this.#scheduled || this.#inFlight !== undefined) return
    this.#stopGathering()
    this.#scheduled = true
    // What others append in this turn of the event loop comes along.
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
    if (changesVbuckets.has(step.kind)) this.#vbucketStepsUpTo = this.#stepsQueued
    // Nobody waits for holds, and with a client there is one a second.
    if (step.kind === 'hold') this.#writeSoon()
    else this.hurry()
  }

  /** Whether something is on its way to disk that makes, changes or ends a vbucket. */
  get changesVbuckets(): boolean {
    return this.#stepsDone < this.#vbucketStepsUpTo
  }

  /** Calls `onPurged` before anybody sees what the purge has left. */
  purge(request: PurgeRequest, onPurged: (result: PurgeResult) => void): Promise<PurgeResult> {
    const id = this.#nextId++
    this.step({ kind: 'purge', id, request })
    return new Promise((done, fail) => {
      if (this.#closed) fail(closed())
      else this.#purges.set(id, { onDone: onPurged, done, fail })
    })
  }

  /** Calls `onErased` before anybody sees what the erasure has left. */
  erase(request: EraseRequest, onErased: (result: EraseResult) => void): Promise<EraseResult> {
    const id = this.#nextId++
    this.step({ kind: 'erase', id, request })
    return new Promise((done, fail) => {
      if (this.#closed) fail(closed())
      else this.#erasures.set(id, { onDone: onErased, done, fail })
    })
  }

  /** Resolves when every step and change queued so far is on disk; fails when closed before. */
  drained(): Promise<void> {
    const position = this.#options.logEnd()
    if (this.#isDone(position, this.#stepsQueued)) return Promise.resolve()
    if (this.#closed) return Promise.reject(closed())
    this.hurry()
    return new Promise((done, fail) => {
      this.#waiters.push({ position, steps: this.#stepsQueued, done, fail })
    })
  }

  /** False when it took longer. */
  async drainedWithin(patienceMs: number): Promise<boolean> {
    let timer: Timer | undefined
    const late = new Promise<false>(resolve => {
      timer = this.#options.clock.after(patienceMs, () => resolve(false))
    })
    const isDrained = await Promise.race([this.drained().then(() => true), late])
    timer?.cancel()
    return isDrained
  }

  /**
   * Once what is under way is on disk, nothing is written until `resume`, which is to be called in any
   * case. False when it is not the moment. Calls `onWanted` when somebody waits for what is not written.
   */
  pause(onWanted: () => void): Promise<boolean> {
    if (this.#closed || this.#pause !== undefined) return Promise.resolve(false)
    const isWanted = this.#isAwaited || this.changesVbuckets
    if (isWanted || this.failure !== undefined) return Promise.resolve(false)
    this.#pause = new FlusherPause(onWanted)
    if (this.#inFlight === undefined) this.#pause.begin()
    return this.#pause.begun
  }

  /** Others have closed what the environment was before it was adopted: the thread may, too. */
  closeOriginal(): void {
    this.#send({ kind: 'close-original' })
  }

  /** Goes on after a pause. */
  resume(): void {
    this.#pause?.end()
    this.#pause = undefined
    if (!this.#closed) this.#goOn()
  }

  /** In a pause: puts the copy of an environment in its place. */
  adopt(environment: number, copy: string): Promise<Adoption> {
    return new Promise(done => {
      this.#onAdopted = done
      this.#send({ kind: 'adopt', environment, copy })
    })
  }

  /** Stops the thread; call `drained` first unless what is queued may be lost. */
  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#pause?.end()
    this.#retry?.cancel()
    this.#stopGathering()
    await ended(this.#worker, { kind: 'close' } satisfies ToFlusher)
    const results = [...this.#purges.values(), ...this.#erasures.values()]
    for (const { fail } of [...this.#waiters, ...results]) fail(closed())
    this.#waiters.length = 0
    this.#purges.clear()
    this.#erasures.clear()
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

  #stopGathering(): void {
    this.#gathering?.cancel()
    this.#gathering = undefined
  }

  #next(): void {
    if (this.#inFlight !== undefined || this.#pause !== undefined || this.#closed) return
    this.#isHurried = false
    this.#isAwaited = false
    const upTo = this.#options.logEnd()
    if (upTo === this.#appliedUpTo && this.#pending.length === 0) return
    this.#pushApply()
    this.#inFlight = this.#pending
    this.#inFlightUpTo = upTo
    this.#stepsInFlight = this.#inFlight.filter(step => step.kind !== 'apply').length
    this.#pending = []
    this.#sendBatch(this.#inFlight)
  }

  #sendBatch(steps: FlushStep[]): void {
    const { clock, heldBytes } = this.#options
    const nowSeconds = Math.floor(clock.nowMs() / 1000)
    this.#send({ kind: 'batch', steps, nowSeconds, heldBytes: heldBytes() })
  }

  #receive(message: FromFlusher): void {
    if (message.kind === 'committed') this.#committed(message)
    else if (message.kind === 'failed') this.#failed(message)
    else if (message.kind === 'adopted') this.#onAdopted?.(message)
    else if (message.kind === 'unbounded') {
      const { error } = message
      this.#options.log.warn({ error }, 'pages of files stay mapped until the kernel needs them')
    }
  }

  #committed(batch: CommittedBatch): void {
    this.#inFlight = undefined
    this.#appliedUpTo = this.#inFlightUpTo
    this.#stepsDone += this.#stepsInFlight
    this.#setFailure(undefined)
    for (const result of batch.purged) this.#purges.get(result.id)?.onDone(result)
    for (const result of batch.erased) this.#erasures.get(result.id)?.onDone(result)
    this.#options.onCommitted(batch, this.#appliedUpTo)
    settle(this.#purges, batch.purged)
    settle(this.#erasures, batch.erased)
    while (this.#waiters.length > 0) {
      const waiter = this.#waiters[0]!
      if (!this.#isDone(waiter.position, waiter.steps)) break
      this.#waiters.shift()
      waiter.done()
    }
    if (this.#isAwaited) this.#pause?.end()
    else this.#pause?.begin()
    this.#goOn()
  }

  #goOn(): void {
    if (this.#isHurried || this.#pending.length > 0) this.#next()
    else if (this.#options.logEnd() > this.#appliedUpTo) this.touch()
  }

  #failed(message: { code: string; message: string; hint: string }): void {
    this.#setFailure(new OperatorError(message.code, message.message, message.hint))
    this.#pause?.end()
    this.#retry = this.#options.clock.after(this.#options.retryMs, () => {
      if (this.#inFlight) this.#sendBatch(this.#inFlight)
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
    this.#options.onFailure()
  }
}

function settle<Result extends { id: number }>(
  waiters: Map<number, ResultWaiter<Result>>,
  results: readonly Result[],
): void {
  for (const result of results) {
    waiters.get(result.id)?.done(result)
    waiters.delete(result.id)
  }
}

function closed(): StatusError {
  return new StatusError(Status.temporaryFailure, 'the bucket is closing')
}
