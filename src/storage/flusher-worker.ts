/**
 * The flusher thread: the only writer of the store while the daemon runs. It takes batches of
 * steps, makes one transaction per environment of each, and answers when all are on disk.
 */
import { close, closeSync, fsyncSync, openSync } from 'node:fs'
import { parentPort, workerData } from 'node:worker_threads'
import { uint64From } from '../../protocol/bytes.ts'
import { systemClock } from '../clock.ts'
import { invariant } from '../errors.ts'
import { Applier } from './apply.ts'
import { putCopyInPlace, putLockInPlace } from './compaction.ts'
import { dataFileOf } from './data-file.ts'
import { dropSome } from './drop.ts'
import { assertRoom, figuresOf, openEnvironment, type Environment } from './environment.ts'
import { storageError } from './storage-error.ts'
import type {
  Adoption,
  CommittedBatch,
  EraseResult,
  EnvironmentFigures,
  FlusherStart,
  FlushStep,
  FromFlusher,
  PurgeResult,
  ToFlusher,
} from './flusher-messages.ts'
import { erase } from './erase.ts'
import { LogReader, type Stretch, type VbucketStretch } from './log-reader.ts'
import { MappedPages } from './mapped-pages.ts'
import { purge } from './purge.ts'
import type { VbucketRecord } from './vbucket-record.ts'

const dropBatch = 5000
const boundPagesMs = 5000

type BatchMessage = Extract<ToFlusher, { kind: 'batch' }>

/** How far the batch under way is on disk. */
interface Progress {
  environment: number
  /** First step of that environment that is not. */
  step: number
  committed: CommittedBatch
}

class Flusher {
  readonly #environments: Environment[]
  readonly #appliers: Applier[]
  readonly log: LogReader
  readonly #start: FlusherStart
  readonly #figures: EnvironmentFigures[]
  #progress: Progress | undefined
  /** Whose copy has been adopted. */
  #original: { readonly environment: Environment; readonly file: number } | undefined

  constructor(start: FlusherStart) {
    this.#start = start
    this.#environments = start.directories.map(directory => this.#open(directory))
    // Takes the reader slots that this needs before pinned snapshots take the others, too.
    this.#figures = this.#environments.map(figuresOf)
    this.log = new LogReader()
    this.#appliers = this.#environments.map(environment => new Applier(environment))
  }

  run({ steps, nowSeconds, heldBytes }: BatchMessage): FromFlusher {
    const begun = performance.now()
    const progress = (this.#progress ??= { environment: 0, step: 0, committed: nothingCommitted() })
    const { committed } = progress
    const stretches = this.log.stretches(steps)
    while (progress.environment < this.#environments.length) {
      const environment = this.#environments[progress.environment]!
      try {
        this.#assertRoom(progress.environment, stretches, heldBytes)
        this.#commit(steps, stretches, nowSeconds, progress)
      } catch (error) {
        const { code, message, hint } = storageError(error, environment.directory)
        return { kind: 'failed', code, message, hint }
      }
      progress.environment++
      progress.step = 0
    }
    this.#progress = undefined
    this.log.markApplied(steps)
    committed.commitMs = performance.now() - begun
    committed.environments = [...this.#figures]
    return committed
  }

  /** The copy has all that is in the environment: nothing has been written to it since. */
  async adopt(index: number, folder: string): Promise<Adoption> {
    const original = this.#environments[index]!
    const { directory } = original
    const files: number[] = []
    let copy: Environment | undefined
    try {
      // All that can fail comes first.
      for (const path of [directory, dataFileOf(directory)]) files.push(openSync(path, 'r'))
      copy = this.#open(directory, folder)
      const figures = figuresOf(copy)
      const applier = new Applier(copy)
      putCopyInPlace(directory, folder)
      this.#environments[index] = copy
      this.#figures[index] = figures
      this.#appliers[index] = applier
    } catch (error) {
      for (const file of files) closeSync(file)
      await copy?.close()
      return this.#adopted((error as Error).message)
    }
    const [opened, file] = files as [number, number]
    // Were this to fail, nobody knew which of the files a crash leaves: the process must not go on.
    putLockInPlace(directory, folder)
    fsyncSync(opened)
    closeSync(opened)
    this.#original = { environment: original, file }
    return this.#adopted()
  }

  /**
   * Its pages are freed when the last descriptor is closed, which takes a while for a large file: not in
   * lmdb, which lets no thread open or close an environment meanwhile.
   */
  async closeOriginal(): Promise<void> {
    const original = this.#original
    if (original === undefined) return
    this.#original = undefined
    await original.environment.close()
    await new Promise(done => close(original.file, done))
  }

  async close(): Promise<void> {
    await this.closeOriginal()
    for (const environment of this.#environments) await environment.close()
  }

  #open(directory: string, openIn?: string): Environment {
    const { mapSizeBytes, readerSlotsMax } = this.#start
    return openEnvironment({ directory, openIn, mapSizeBytes, readerSlotsMax })
  }

  #adopted(failure?: string): Adoption {
    return { kind: 'adopted', failure, environments: [...this.#figures] }
  }

  #assertRoom(index: number, stretches: (Stretch | undefined)[], heldBytes: number[]): void {
    const own = stretches.flatMap(stretch => this.#ofEnvironment(index, stretch))
    const neededBytes = own.reduce((sum, { bytes }) => sum + bytes, 0)
    if (neededBytes === 0) return
    assertRoom(this.#environments[index]!.directory, this.#start.mapSizeBytes, {
      liveBytes: this.#figures[index]!.liveBytes,
      heldBytes: heldBytes[index]!,
      neededBytes,
    })
  }

  /** Commits what the steps want of one environment, from where an earlier attempt failed. */
  #commit(
    steps: FlushStep[],
    stretches: (Stretch | undefined)[],
    nowSeconds: number,
    progress: Progress,
  ): void {
    const { environment: index, committed } = progress
    const count = this.#environments.length
    const concerns = (step: FlushStep, i: number) => {
      if (step.kind === 'apply') return this.#ofEnvironment(index, stretches[i]).length > 0
      if (step.kind === 'clear') return true
      return ('request' in step ? step.request.vbid : step.vbid) % count === index
    }
    if (!steps.some(concerns)) return
    const environment = this.#environments[index]!
    const applier = this.#appliers[index]!
    // A drop of a large vbucket is cut into several transactions; all else is one.
    while (progress.step < steps.length) {
      const purged: PurgeResult[] = []
      const erased: EraseResult[] = []
      let records = 0
      let next = progress.step
      environment.write(() => {
        applier.begin()
        for (; next < steps.length; next++) {
          const step = steps[next]!
          if (!concerns(step, next)) continue
          if (step.kind === 'apply') {
            records += this.#apply(stretches[next]!, index, applier, nowSeconds)
          } else if (step.kind === 'purge') {
            purged.push(purge(environment, applier, step.id, step.request))
          } else if (step.kind === 'erase') {
            erased.push(erase(environment, applier, step.id, step.request))
          } else if (step.kind === 'clear') {
            const own = step.vbuckets.filter(([vbid]) => vbid % count === index)
            clear(environment, applier, own)
          } else if (!perform(environment, applier, step)) break
        }
        applier.finish()
      })
      applier.committed()
      progress.step = next
      committed.records += records
      committed.purged.push(...purged)
      committed.erased.push(...erased)
      committed.persisted.push(...applier.persisted())
      this.#figures[index] = figuresOf(environment)
    }
  }

  /** Returns how many records were written. */
  #apply(stretch: Stretch, index: number, applier: Applier, nowSeconds: number): number {
    const own = this.#ofEnvironment(index, stretch)
    let records = 0
    for (const { positions } of own) {
      for (const position of positions) applier.apply(this.log.recordAt(position), nowSeconds)
      records += positions.length
      // Vbucket by vbucket, so that what it has gathered is still in the processor's cache.
      applier.flush()
    }
    for (const { vbid, highSeqno, maxCasHigh, maxCasLow } of own) {
      applier.advance(vbid, highSeqno, uint64From(maxCasHigh, maxCasLow))
    }
    return records
  }

  #ofEnvironment(index: number, stretch: Stretch | undefined): VbucketStretch[] {
    const count = this.#environments.length
    return stretch?.filter(({ vbid }) => vbid % count === index) ?? []
  }
}

function nothingCommitted(): CommittedBatch {
  return {
    kind: 'committed',
    persisted: [],
    purged: [],
    erased: [],
    records: 0,
    commitMs: 0,
    environments: [],
  }
}

function clear(
  environment: Environment,
  applier: Applier,
  vbuckets: [vbid: number, record: VbucketRecord][],
): void {
  const { index, blocks, superseded, tombstones, expiries, collections } = environment
  const tables = [index, blocks, superseded, tombstones, expiries, collections]
  for (const table of tables) table.clearSync()
  applier.forgetRecords()
  for (const [vbid, record] of vbuckets) applier.setVbucket(vbid, record)
}

/** False when the step needs another transaction to go on. */
function perform(
  environment: Environment,
  applier: Applier,
  step: Exclude<FlushStep, { kind: 'apply' | 'purge' | 'erase' | 'clear' }>,
): boolean {
  if (step.kind === 'vbucket') {
    const record = applier.vbucket(step.vbid) ?? emptyVbucket(step.change)
    applier.setVbucket(step.vbid, { ...record, ...step.change })
    return true
  }
  if (step.kind === 'hold') {
    const key = { vbid: step.vbid, holder: step.holder }
    if (step.hold) environment.holds.putSync(key, Buffer.from(JSON.stringify(step.hold)))
    else environment.holds.removeSync(key)
    return true
  }
  const done = dropSome(environment, step.vbid, dropBatch)
  const record = applier.vbucket(step.vbid)
  if (!done) {
    if (record) applier.setVbucket(step.vbid, { ...record, dropping: true })
    return false
  }
  applier.forgetVbucket(step.vbid)
  return true
}

function emptyVbucket(change: VbucketRecord | object): VbucketRecord {
  const empty = { highSeqno: 0, purgeSeqno: 0, items: 0, bytes: 0, tombstones: 0 }
  return { ...empty, state: 0, maxCas: '0', failoverLog: [], ...change }
}

const port = parentPort
invariant(port, 'the flusher runs as a worker thread')
const say = (message: FromFlusher) => port.postMessage(message)
const start = workerData as FlusherStart
const flusher = new Flusher(start)
const mappedPages = new MappedPages({
  directories: start.directories,
  limitBytes: start.mappedBytesMax,
  monotonicMs: () => systemClock.monotonicMs(),
})
const boundingPages = systemClock.every(boundPagesMs, () => {
  mappedPages.bound().catch((error: unknown) => {
    boundingPages.cancel()
    say({ kind: 'unbounded', error: String(error) })
  })
})

port.on('message', (message: ToFlusher) => {
  if (message.kind === 'segment') flusher.log.addSegment(message.number, message.memory)
  else if (message.kind === 'release') flusher.log.removeSegment(message.number)
  else if (message.kind === 'batch') say(flusher.run(message))
  else if (message.kind === 'adopt') void flusher.adopt(message.environment, message.copy).then(say)
  else if (message.kind === 'close-original') void flusher.closeOriginal()
  else {
    boundingPages.cancel()
    mappedPages.close()
    void flusher.close().then(() => {
      say({ kind: 'closed' })
      port.close()
    })
  }
})
say({ kind: 'ready' })
