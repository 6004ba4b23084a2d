/** The main thread's side of the backfill thread: what it is asked, and the memory lent to it. */
import type { Worker } from 'node:worker_threads'
import { OperatorError } from '../errors.ts'
import type { KeyScanLimits, KeyScanRequest, KeysRead } from './key-scan.ts'
import type { ScanSlab } from './snapshot.ts'
import type {
  BackfillStart,
  FromBackfill,
  PinnedVbucket,
  ScannedPart,
  ScanRange,
  ToBackfill,
} from './snapshot-messages.ts'
import { SlabMemory } from './slab-memory.ts'
import { ended, started, startThread } from './worker-life.ts'

/** Slabs filled less than this are not worth their memory. */
const copiedShare = 8

/** Counts those who were served and do not stream: of all buckets, as they share the processors. */
const served = new Int32Array(new SharedArrayBuffer(4))

export class BackfillThread {
  readonly #worker: Worker
  readonly #answers = new Map<number, (answer: FromBackfill) => void>()
  #nextRequest = 1
  #pinned = 0
  readonly #slabs = new SlabMemory()
  #closed = false

  /** Resolves when the thread has opened the store; fails when it cannot. */
  readonly ready: Promise<void>

  constructor({ directories, mapSizeBytes, readerSlotsMax }: Omit<BackfillStart, 'served'>) {
    const workerData: BackfillStart = { served, directories, mapSizeBytes, readerSlotsMax }
    this.#worker = startThread('./backfill-worker.js', workerData)
    this.ready = started(this.#worker)
    this.#worker.on('message', (message: FromBackfill) => this.#receive(message))
  }

  get isClosed(): boolean {
    return this.#closed
  }

  /** Somebody has been served who does not stream: the thread lets others have its processor. */
  othersServed(): void {
    served[0] = served[0]! + 1
  }

  /** Counts those, and begins anew after 2^32. */
  get served(): number {
    return served[0]!
  }

  /** Pins the newest commit of an environment; resolves to what it shows. */
  async pin(snapshotId: number, environment: number): Promise<Map<number, PinnedVbucket>> {
    const answer = await this.#ask(request => ({ kind: 'pin', request, snapshotId, environment }))
    if (answer.kind !== 'pinned') throw stopping()
    this.#pinned++
    return new Map(answer.vbuckets)
  }

  release(snapshotId: number): void {
    if (--this.#pinned === 0) this.#slabs.forget()
    if (!this.#closed) this.#send({ kind: 'release', snapshotId })
  }

  /** Fills one slab with what the first ranges hold: one part for each that there was room for. */
  async read(ranges: ScanRange[], bytesMax: number): Promise<SlabPart[]> {
    const memory = this.#slabs.take(bytesMax)
    const answer = await this.#ask(request => {
      return { kind: 'read', request, ranges, bytesMax, slab: memory }
    })
    if (answer.kind !== 'slab') throw stopping()
    return this.#partsOf(memory, answer.parts, answer.larger)
  }

  #partsOf(
    memory: SharedArrayBuffer,
    parts: readonly ScannedPart[],
    larger: ArrayBuffer | undefined,
  ): SlabPart[] {
    const length = parts.reduce((sum, part) => sum + part.length, 0)
    const giveBack = () => {
      if (this.#pinned > 0) this.#slabs.give(memory)
    }
    let bytes = Buffer.from(larger ?? memory, 0, length)
    let onFree = giveBack
    if (larger !== undefined || length < memory.byteLength / copiedShare) {
      // A few bytes go in memory of their own: they may be waited for for long.
      if (larger === undefined) bytes = Buffer.from(memory.slice(0, length))
      onFree = () => {}
      giveBack()
    }
    const slab = new LentSlab(parts.length, onFree)
    let offset = 0
    return parts.map(part => {
      offset += part.length
      return new SlabPart(slab, bytes.subarray(offset - part.length, offset), part)
    })
  }

  /** Begins a range scan; false when `seqno` is given and not the newest of its key. */
  async openKeys(
    scanId: number,
    snapshotId: number,
    keys: KeyScanRequest,
    seqno: number | undefined,
  ): Promise<boolean> {
    const answer = await this.#ask(request => {
      return { kind: 'open-keys', request, scanId, snapshotId, keys, seqno }
    })
    if (answer.kind !== 'keys-opened') throw stopping()
    return answer.hasSeqno
  }

  async readKeys(scanId: number, limits: KeyScanLimits): Promise<KeysRead> {
    const answer = await this.#ask(request => ({ kind: 'read-keys', request, scanId, limits }))
    if (answer.kind !== 'keys') throw stopping()
    const { bytes, items, state } = answer
    return { bytes: Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length), items, state }
  }

  closeKeys(scanId: number): void {
    if (!this.#closed) this.#send({ kind: 'close-keys', scanId })
  }

  /** Opens the copy of an environment, which nobody reads before `closeCopy` adopts it. */
  async openCopy(environment: number, copy: string): Promise<void> {
    const answer = await this.#ask(request => ({ kind: 'open-copy', request, environment, copy }))
    if (answer.kind !== 'copy-opened') throw stopping()
  }

  /** Later pins are made in the copy, or it is dropped. Resolves when the other one is closed. */
  async closeCopy(environment: number, isAdopted: boolean): Promise<void> {
    const answer = await this.#ask(request => {
      return { kind: 'close-copy', request, environment, isAdopted }
    })
    if (answer.kind !== 'copy-closed') throw stopping()
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await ended(this.#worker, { kind: 'close' } satisfies ToBackfill)
    const closed: FromBackfill = { kind: 'closed' }
    for (const answer of this.#answers.values()) answer(closed)
    this.#answers.clear()
  }

  async #ask(message: (request: number) => ToBackfill): Promise<FromBackfill> {
    if (this.#closed) throw stopping()
    const request = this.#nextRequest++
    const answer = await new Promise<FromBackfill>(resolve => {
      this.#answers.set(request, resolve)
      this.#send(message(request))
    })
    if (answer.kind === 'failed') {
      throw new OperatorError(answer.code, answer.message, answer.hint)
    }
    return answer
  }

  #send(message: ToBackfill): void {
    this.#worker.postMessage(message)
  }

  #receive(message: FromBackfill): void {
    if (!('request' in message)) return
    const answer = this.#answers.get(message.request)
    this.#answers.delete(message.request)
    answer?.(message)
  }
}

/** A slab with frames of several scans: it is free when all of them have been sent. */
class LentSlab {
  readonly #onFree: () => void
  #partsLeft: number

  constructor(parts: number, onFree: () => void) {
    this.#partsLeft = parts
    this.#onFree = onFree
  }

  freePart(): void {
    if (--this.#partsLeft === 0) this.#onFree()
  }
}

export class SlabPart implements ScanSlab {
  readonly bytes: Buffer
  readonly frames: number
  readonly lastSeqno: number
  readonly frameSeqno: number
  /** The block that the read has come to; undefined when there was none. */
  readonly block: number | undefined
  readonly done: boolean
  readonly #slab: LentSlab

  constructor(slab: LentSlab, bytes: Buffer, part: ScannedPart) {
    this.#slab = slab
    this.bytes = bytes
    this.frames = part.frames
    this.lastSeqno = part.lastSeqno
    this.frameSeqno = part.frameSeqno
    this.block = part.block
    this.done = part.done
  }

  free(): void {
    this.#slab.freePart()
  }
}

function stopping(): OperatorError {
  return new OperatorError('stopping', 'the bucket is being closed', 'connect again later')
}
