import { MutationOffset } from '../../protocol/dcp/mutation.ts'
import type { Frame } from '../../protocol/frame.ts'
import { leb128At, leb128Length } from '../../protocol/leb128.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { deleteTimeOf, typeOfChange, type Change } from './change.ts'
import { defaultCollection } from './collection-path.ts'
import { windowBytes } from './dcp-session.ts'
import { savePosition, type SavedPosition } from './stream-position.ts'
import type { VbucketStream } from './vbucket-stream.ts'

/**
 * A change where it arrived: views of the frame, no object and no copy of it. There is one of these,
 * filled in again for each change: what shall outlive the call is copied by whoever was called.
 */
export class ArrivedChange {
  /** Has cas, revno, datatype and the like, see `protocol/dcp/mutation.ts`. */
  frame!: Frame
  seqno = 0
  collectionId = 0
  /** Of the key without its collection's id, in the frame's bytes; the value stands right behind it. */
  keyStart = 0
  keyLength = 0
  /** The first that is taken of its snapshot and history. */
  isFirst = false
  #stream!: VbucketStream

  get vbid(): number {
    return this.frame.vbid
  }

  get type(): Change['type'] {
    return typeOfChange(this.frame)
  }

  /** As `Change` has them: flags and expiry are of mutations, the other of what was deleted. */
  get flags(): number {
    return this.frame.opcode === Opcode.dcpMutation
      ? this.frame.extrasUint32(MutationOffset.flags)
      : 0
  }

  get expiry(): number {
    return this.frame.opcode === Opcode.dcpMutation
      ? this.frame.extrasUint32(MutationOffset.expiry)
      : 0
  }

  get deleteTime(): number | undefined {
    return this.frame.opcode === Opcode.dcpMutation ? undefined : deleteTimeOf(this.frame)
  }

  /** Where a consumer is that has it. */
  position(): SavedPosition {
    return savePosition(this.vbid, this.#stream.taken)
  }

  /** For the client. */
  fill(frame: Frame, seqno: number, stream: VbucketStream, hasCollections: boolean): void {
    this.frame = frame
    this.seqno = seqno
    this.#stream = stream
    const { bytes, keyStart, keyLength } = frame
    const id = hasCollections ? leb128At(bytes, keyStart, keyStart + keyLength) : defaultCollection
    const idLength = hasCollections ? leb128Length(id) : 0
    this.collectionId = id
    this.keyStart = keyStart + idLength
    this.keyLength = keyLength - idLength
    this.isFirst = !stream.isTakenIn(stream.context)
  }
}

/**
 * Takes a change before anything else is read. A promise: no more is read until it resolves; what was
 * read with it (at most 256 KiB, or one change) still arrives. To throw, or to reject, ends the client.
 */
export type ChangeTaker = (change: ArrivedChange) => Promise<void> | undefined

export interface ArrivalEvents {
  /** The first that is waited for has come, or the last one is done. */
  held(isHeld: boolean): void
  failed(error: unknown): void
}

/** Changes that are taken as they arrive, without a queue. */
export class Arrivals {
  readonly #take: ChangeTaker
  readonly #events: ArrivalEvents
  readonly #acknowledges: boolean
  readonly #hasCollections: boolean
  readonly #change = new ArrivedChange()
  #count = 0
  #waits = 0
  /** Many changes of one read may have to wait for the same. */
  #newestWait: Promise<void> | undefined

  constructor(
    take: ChangeTaker,
    options: { acknowledges: boolean; hasCollections: boolean },
    events: ArrivalEvents,
  ) {
    this.#take = take
    this.#acknowledges = options.acknowledges
    this.#hasCollections = options.hasCollections
    this.#events = events
  }

  /** Changes taken so far. */
  get count(): number {
    return this.#count
  }

  /** Nothing more is to be read for now. */
  get isHeld(): boolean {
    return this.#waits > 0
  }

  /** The stream has it as received. */
  change(frame: Frame, seqno: number, stream: VbucketStream): void {
    const { context } = stream
    this.#change.fill(frame, seqno, stream, this.#hasCollections)
    this.taken(seqno, stream)
    this.#count++
    context.session.consumed(windowBytes(frame))
    if (this.#acknowledges) context.session.acknowledge(false)
    try {
      const wait = this.#take(this.#change)
      if (wait) this.#hold(wait)
    } catch (error) {
      this.#events.failed(error)
    }
  }

  /** Whatever else moves a stream must not come behind changes that are taken at once. */
  taken(seqno: number, stream: VbucketStream): void {
    stream.take(seqno, stream.context)
  }

  #hold(wait: Promise<void>): void {
    if (wait === this.#newestWait) return
    this.#newestWait = wait
    if (this.#waits++ === 0) this.#events.held(true)
    wait
      .catch((error: unknown) => this.#events.failed(error))
      .finally(() => {
        if (--this.#waits > 0) return
        this.#newestWait = undefined
        this.#events.held(false)
      })
  }
}
