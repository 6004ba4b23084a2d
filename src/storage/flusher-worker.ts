/**
 * The flusher thread: the only writer of the store while the daemon runs. It takes batches of
 * steps, makes one transaction per environment of each, and answers when all are on disk.
 */
import { parentPort, workerData } from 'node:worker_threads'
import { invariant } from '../errors.ts'
import { Applier } from './apply.ts'
import { dropSome } from './drop.ts'
import { openEnvironment, storageError, type Environment } from './environment.ts'
import type {
  CommittedBatch,
  EnvironmentFigures,
  FlusherStart,
  FlushStep,
  FromFlusher,
  PurgeResult,
  ToFlusher,
} from './flusher-messages.ts'
import {
  entryHeaderLength,
  entryLength,
  logSegment,
  offsetIn,
  recordLengthAt,
  segmentOf,
  segmentSpan,
  supersededAt,
  type LogSegment,
} from './log-segment.ts'
import { purge } from './purge.ts'
import { RecordView } from './record.ts'
import type { VbucketRecord } from './vbucket-record.ts'

const dropBatch = 5000

/** One stretch of the log, as positions of the entries to write, by environment. */
interface Stretch {
  entries: number[][]
  /** High seqno and greatest CAS that the stretch brings to each vbucket. */
  highs: Map<number, { seqno: number; cas: bigint }>
}

class Flusher {
  readonly #environments: Environment[]
  readonly #appliers: Applier[]
  readonly #segments = new Map<number, LogSegment>()
  readonly #view = new RecordView()
  /** Everything before this position is on disk. */
  #applied = segmentSpan

  constructor(start: FlusherStart) {
    this.#environments = start.directories.map(directory =>
      openEnvironment({
        directory,
        mapSizeBytes: start.mapSizeBytes,
        readerSlotsMax: start.readerSlotsMax,
      }),
    )
    this.#appliers = this.#environments.map(environment => new Applier(environment))
  }

  addSegment(number: number, memory: SharedArrayBuffer): void {
    this.#segments.set(number, logSegment(number, memory))
  }

  removeSegment(number: number): void {
    this.#segments.delete(number)
  }

  run(steps: FlushStep[]): FromFlusher {
    const begun = performance.now()
    const committed: CommittedBatch = {
      kind: 'committed',
      persisted: [],
      purged: [],
      records: 0,
      commitMs: 0,
      environments: [],
    }
    const nowSeconds = Math.floor(Date.now() / 1000)
    const stretches = this.#stretches(steps)
    for (const [index, environment] of this.#environments.entries()) {
      try {
        this.#commit(index, steps, stretches, nowSeconds, committed)
      } catch (error) {
        const { code, message, hint } = storageError(error, environment.directory)
        return { kind: 'failed', code, message, hint }
      }
    }
    for (const step of steps) if (step.kind === 'apply') this.#applied = step.upTo
    committed.commitMs = performance.now() - begun
    committed.environments = this.#environments.map(figuresOf)
    return committed
  }

  async close(): Promise<void> {
    for (const environment of this.#environments) await environment.close()
  }

  /** What each `apply` step brings, in the order of the steps. */
  #stretches(steps: FlushStep[]): (Stretch | undefined)[] {
    let from = this.#applied
    return steps.map(step => {
      if (step.kind !== 'apply') return undefined
      const stretch = this.#stretch(from, step.upTo)
      from = step.upTo
      return stretch
    })
  }

  #stretch(from: number, upTo: number): Stretch {
    const stretch: Stretch = { entries: this.#environments.map(() => []), highs: new Map() }
    const seen: number[] = []
    this.#visit(from, upTo, (segment, offset) => {
      const record = this.#view.at(segment.bytes, offset + entryHeaderLength)
      const high = stretch.highs.get(record.vbid)
      const { seqno, cas } = record
      if (high === undefined) stretch.highs.set(record.vbid, { seqno, cas })
      else {
        high.seqno = seqno
        if (cas > high.cas) high.cas = cas
      }
      seen.push(segment.number * segmentSpan + offset)
    })
    for (const position of seen) {
      const segment = this.#segments.get(segmentOf(position))!
      const offset = offsetIn(position)
      const { vbid, seqno } = this.#view.at(segment.bytes, offset + entryHeaderLength)
      // A version whose successor is in this stretch too need not be written. One whose
      // successor comes later must be: until then the disk has to show it.
      const delta = supersededAt(segment, offset)
      if (delta !== 0 && seqno + delta <= stretch.highs.get(vbid)!.seqno) continue
      stretch.entries[vbid % this.#environments.length]!.push(position)
    }
    for (const entries of stretch.entries) this.#sort(entries)
    return stretch
  }

  /** By vbucket, then by seqno: neighbours in the records table are written together. */
  #sort(positions: number[]): void {
    const keyed = positions.map(position => {
      const record = this.#recordAt(position)
      return { position, vbid: record.vbid }
    })
    keyed.sort((a, b) => a.vbid - b.vbid || a.position - b.position)
    keyed.forEach(({ position }, index) => (positions[index] = position))
  }

  #recordAt(position: number): RecordView {
    const segment = this.#segments.get(segmentOf(position))
    invariant(segment, 'a segment is released only after it was applied')
    return this.#view.at(segment.bytes, offsetIn(position) + entryHeaderLength)
  }

  #visit(from: number, upTo: number, visit: (segment: LogSegment, offset: number) => void): void {
    for (let number = segmentOf(from); number <= segmentOf(upTo); number++) {
      const segment = this.#segments.get(number)
      if (segment === undefined) continue
      const end = number === segmentOf(upTo) ? offsetIn(upTo) : segment.bytes.length
      let offset = number === segmentOf(from) ? offsetIn(from) : 0
      while (offset < end) {
        const length = recordLengthAt(segment, offset)
        if (length === 0) break
        visit(segment, offset)
        offset += entryLength(length)
      }
    }
  }

  #commit(
    index: number,
    steps: FlushStep[],
    stretches: (Stretch | undefined)[],
    nowSeconds: number,
    committed: CommittedBatch,
  ): void {
    const count = this.#environments.length
    const concerns = (step: FlushStep, i: number) => {
      if (step.kind === 'apply') return stretches[i]!.entries[index]!.length > 0
      if (step.kind === 'clear') return true
      return (step.kind === 'purge' ? step.request.vbid : step.vbid) % count === index
    }
    if (!steps.some(concerns)) return
    const environment = this.#environments[index]!
    const applier = this.#appliers[index]!
    const purged: PurgeResult[] = []
    let next = 0
    // A drop of a large vbucket is cut into several transactions; all else is one.
    while (next < steps.length) {
      const first = next
      environment.write(() => {
        applier.begin()
        for (next = first; next < steps.length; next++) {
          const step = steps[next]!
          if (!concerns(step, next)) continue
          if (step.kind === 'apply') {
            this.#apply(stretches[next]!, index, applier, nowSeconds)
            committed.records += stretches[next]!.entries[index]!.length
          } else if (step.kind === 'purge') {
            purged.push(purge(environment, applier, step.id, step.request))
          } else if (step.kind === 'clear') {
            const own = step.vbuckets.filter(([vbid]) => vbid % count === index)
            clear(environment, applier, own)
          } else if (!perform(environment, applier, step)) break
        }
        applier.finish()
      })
      committed.persisted.push(...applier.persisted())
    }
    committed.purged.push(...purged)
  }

  #apply(stretch: Stretch, index: number, applier: Applier, nowSeconds: number): void {
    for (const position of stretch.entries[index]!) {
      applier.apply(this.#recordAt(position), nowSeconds)
    }
    for (const [vbid, { seqno, cas }] of stretch.highs) {
      if (vbid % this.#environments.length === index) applier.advance(vbid, seqno, cas)
    }
  }
}

function clear(
  environment: Environment,
  applier: Applier,
  vbuckets: [vbid: number, record: VbucketRecord][],
): void {
  const { documents, records, tombstones, expiries } = environment
  for (const table of [documents, records, tombstones, expiries]) table.clearSync()
  for (const [vbid, record] of vbuckets) applier.setVbucket(vbid, record)
}

/** False when the step needs another transaction to go on. */
function perform(
  environment: Environment,
  applier: Applier,
  step: Exclude<FlushStep, { kind: 'apply' | 'purge' | 'clear' }>,
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
  const empty = { highSeqno: 0, purgeSeqno: 0, items: 0, tombstones: 0 }
  return { ...empty, state: 0, maxCas: '0', failoverLog: [], ...change }
}

function figuresOf(environment: Environment): EnvironmentFigures {
  const { pageSize, allocated, live, written } = environment.pages()
  return {
    allocatedBytes: allocated * pageSize,
    liveBytes: live * pageSize,
    writtenBytes: written * pageSize,
  }
}

const port = parentPort
invariant(port, 'the flusher runs as a worker thread')
const say = (message: FromFlusher) => port.postMessage(message)
const flusher = new Flusher(workerData as FlusherStart)

port.on('message', (message: ToFlusher) => {
  if (message.kind === 'segment') flusher.addSegment(message.number, message.memory)
  else if (message.kind === 'release') flusher.removeSegment(message.number)
  else if (message.kind === 'batch') say(flusher.run(message.steps))
  else {
    void flusher.close().then(() => {
      say({ kind: 'closed' })
      port.close()
    })
  }
})
say({ kind: 'ready' })
