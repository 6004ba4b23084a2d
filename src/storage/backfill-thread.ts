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
import { ended, started, startThread } from './worker-life.ts'

/** Slabs that wait to go back to the thread. */
const freedMax = 8

export class BackfillThread {
  readonly #worker: Worker
  readonly #answers = new Map<number, (answer: FromBackfill) => void>()
  readonly #served = new Int32Array(new SharedArrayBuffer(4))
  #nextRequest = 1
  #pinned = 0
  #freed: ArrayBuffer[] = []
  #closed = false

  /** Resolves when the thread has opened the store; fails when it cannot. */
  readonly ready: Promise<void>

  constructor({ directories, mapSizeBytes, readerSlotsMax }: Omit<BackfillStart, 'served'>) {
    const served = this.#served
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
    this.#served[0] = this.#served[0]! + 1
  }

  /** Counts those, and begins anew after 2^32. */
  get served(): number {
    return this.#served[0]!
  }

  /** Pins the newest commit of an environment; resolves to what it shows. */
  async pin(snapshotId: number, environment: number): Promise<Map<number, PinnedVbucket>> {
    const answer = await this.#ask(request => ({ kind: 'pin', request, snapshotId, environment }))
    if (answer.kind !== 'pinned') throw stopping()
    this.#pinned++
    return new Map(answer.vbuckets)
  }

  release(snapshotId: number): void {
    if (--this.#pinned === 0) this.#freed = []
    if (!this.#closed) this.#send({ kind: 'release', snapshotId })
  }

  /** Fills one slab with what the first ranges hold: one part for each that there was room for. */
  async read(ranges: ScanRange[], bytesMax: number): Promise<ScanSlab[]> {
    const answer = await this.#ask(request => {
      const freed = this.#freed
      this.#freed = []
      return { kind: 'read', request, ranges, bytesMax, freed }
    })
    if (answer.kind !== 'slab') throw stopping()
    const slab = new LentSlab(answer.slab, answer.parts.length, memory => this.#free(memory))
    let offset = 0
    return answer.parts.map(part => {
      offset += part.length
      return new SlabPart(slab, offset - part.length, part)
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

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    await ended(this.#worker, { kind: 'close' } satisfies ToBackfill)
    const closed: FromBackfill = { kind: 'closed' }
    for (const answer of this.#answers.values()) answer(closed)
    this.#answers.clear()
  }

  #free(memory: ArrayBuffer): void {
    if (this.#pinned > 0 && this.#freed.length < freedMax) this.#freed.push(memory)
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
    this.#worker.postMessage(message, message.kind === 'read' ? message.freed : [])
  }

  #receive(message: FromBackfill): void {
    if (!('request' in message)) return
    const answer = this.#answers.get(message.request)
    this.#answers.delete(message.request)
    answer?.(message)
  }
}

/** Memory with frames of several scans: it goes back when all of them have been sent. */
class LentSlab {
  readonly memory: ArrayBuffer
  readonly #onFree: (memory: ArrayBuffer) => void
  #partsLeft: number

  constructor(memory: ArrayBuffer, parts: number, onFree: (memory: ArrayBuffer) => void) {
    this.memory = memory
    this.#partsLeft = parts
    this.#onFree = onFree
  }

  freePart(): void {
    if (--this.#partsLeft === 0) this.#onFree(this.memory)
  }
}

class SlabPart implements ScanSlab {
  readonly bytes: Buffer
  readonly frames: number
  readonly lastSeqno: number
  readonly frameSeqno: number
  readonly done: boolean
  readonly #slab: LentSlab

  constructor(
    slab: LentSlab,
    offset: number,
    { length, frames, lastSeqno, frameSeqno, done }: ScannedPart,
  ) {
    this.#slab = slab
    this.bytes = Buffer.from(slab.memory, offset, length)
    this.frames = frames
    this.lastSeqno = lastSeqno
    this.frameSeqno = frameSeqno
    this.done = done
  }

  free(): void {
    this.#slab.freePart()
  }
}

function stopping(): OperatorError {
  return new OperatorError('stopping', 'the bucket is being closed', 'connect again later')
}
