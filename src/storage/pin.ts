/** One pinned snapshot of an environment, and those who use it. */
import { invariant } from '../errors.ts'
import type { EnvironmentFigures } from './flusher-messages.ts'
import type { FrameForm } from './record-frame.ts'
import type { ScanRequest, SnapshotReference } from './snapshot.ts'
import type { PinnedVbucket, ScanRange } from './snapshot-messages.ts'

const emptyVbucket: PinnedVbucket = { highSeqno: 0, purgeSeqno: 0, defaultSeqno: 0 }

export interface PinOptions {
  id: number
  environment: number
  /** Commits of the environment when it was pinned. */
  generation: number
  pinnedAtMs: number
  figures: EnvironmentFigures
  vbuckets: ReadonlyMap<number, PinnedVbucket>
  /** Nobody refers to it or reads in it any more. Called once. */
  onUnused: (pin: Pin) => void
}

export class Pin {
  readonly id: number
  readonly environment: number
  readonly generation: number
  readonly pinnedAtMs: number
  readonly figures: EnvironmentFigures
  readonly vbuckets: ReadonlyMap<number, PinnedVbucket>
  /** How many references each has. */
  readonly holders = new Map<string, number>()
  references = 0
  readonly #onUnused: (pin: Pin) => void
  /** Reads under way: the transaction must outlive them. */
  #reads = 0

  constructor(options: PinOptions) {
    this.id = options.id
    this.environment = options.environment
    this.generation = options.generation
    this.pinnedAtMs = options.pinnedAtMs
    this.figures = options.figures
    this.vbuckets = options.vbuckets
    this.#onUnused = options.onUnused
  }

  refer(vbid: number, holder: string): SnapshotReference {
    this.references++
    this.holders.set(holder, (this.holders.get(holder) ?? 0) + 1)
    return new PinReference(this, vbid, this.vbuckets.get(vbid) ?? emptyVbucket, holder)
  }

  letGo(holder: string): void {
    this.references--
    const left = this.holders.get(holder)! - 1
    if (left === 0) this.holders.delete(holder)
    else this.holders.set(holder, left)
    this.#tellIfUnused()
  }

  beginRead(): void {
    this.#reads++
  }

  endRead(): void {
    this.#reads--
    this.#tellIfUnused()
  }

  #tellIfUnused(): void {
    if (this.references === 0 && this.#reads === 0) this.#onUnused(this)
  }
}

class PinReference implements SnapshotReference {
  readonly vbid: number
  readonly persistedSeqno: number
  readonly purgeSeqno: number
  readonly defaultSeqno: number
  readonly #pin: Pin
  readonly #holder: string
  #isHeld = true

  constructor(pin: Pin, vbid: number, shown: PinnedVbucket, holder: string) {
    const { highSeqno, purgeSeqno, defaultSeqno } = shown
    this.vbid = vbid
    this.persistedSeqno = highSeqno
    this.purgeSeqno = purgeSeqno
    this.defaultSeqno = defaultSeqno
    this.#pin = pin
    this.#holder = holder
  }

  get snapshotId(): number {
    return this.#pin.id
  }
  get pinnedAtMs(): number {
    return this.#pin.pinnedAtMs
  }

  scan(request: ScanRequest): Scan {
    return new Scan(this.#pin, this.vbid, request)
  }

  release(): void {
    if (!this.#isHeld) return
    this.#isHeld = false
    this.#pin.letGo(this.#holder)
  }
}

/** Where the reading of one vbucket stands. `SnapshotService.read` reads on. */
export class Scan {
  readonly pin: Pin
  readonly vbid: number
  readonly toSeqno: number
  readonly form: FrameForm
  /** Everything up to here has been looked at. */
  seqno: number
  /** The block that the last read has come to. */
  block: number | undefined
  #isClosed = false

  constructor(pin: Pin, vbid: number, { afterSeqno, toSeqno, form }: ScanRequest) {
    this.pin = pin
    this.vbid = vbid
    this.toSeqno = toSeqno
    this.form = form
    this.seqno = afterSeqno
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  /** What is still to be read. */
  range(): ScanRange {
    invariant(!this.#isClosed, 'a scan that is closed is read no more')
    const { vbid, toSeqno, form, block, seqno: afterSeqno } = this
    return { snapshotId: this.pin.id, vbid, afterSeqno, toSeqno, block, form }
  }

  /** A read under way is answered, but what it brings is thrown away. */
  close(): void {
    this.#isClosed = true
  }
}
