/**
 * Who waits for changes to be durable, which the journal may make them first, or to be in LMDB: what
 * is said of seqnos ("persisted") is always about LMDB.
 */
import type { ChangeLog } from './change-log.ts'
import { PositionWaiters, type Reached } from './position-waiters.ts'
import type { Vbucket } from './vbucket.ts'

/** A wait for a seqno of a vbucket, which may go away meanwhile. */
interface Wait {
  seqno: number
  done: () => void
  fail: (error: unknown) => void
}

interface VbucketWaits {
  all: Set<Wait>
  /** None of them is for a lower seqno. */
  lowestSeqno: number
}

export class PersistenceWaiters {
  readonly #changes: ChangeLog
  readonly #waits = new Map<Vbucket, VbucketWaits>()
  readonly #forDurable = new PositionWaiters()
  readonly #forCommit = new PositionWaiters()
  #closing: Error | undefined

  constructor(changes: ChangeLog) {
    this.#changes = changes
  }

  /**
   * Calls `done` once everything appended so far would survive a crash, or with an error when that is
   * waited for no longer; never within this call.
   */
  afterDurable(done: Reached): void {
    this.#after(this.#forDurable, done)
  }

  /** Whether somebody waits for `afterDurable`. */
  get isDurableAwaited(): boolean {
    return !this.#forDurable.isEmpty
  }

  /** Calls `done` once everything appended so far is in LMDB; never within this call. */
  afterCommit(done: () => void): void {
    this.#after(this.#forCommit, done)
  }

  /**
   * Resolves once the vbucket's change with this seqno is in LMDB, however long it takes to be
   * made. Fails when the vbucket is forgotten before, and with the signal's reason when that
   * aborts.
   */
  reached(vbucket: Vbucket, seqno: number, signal?: AbortSignal): Promise<void> {
    if (vbucket.persistedSeqno >= seqno || this.#committedSeqno(vbucket) >= seqno) {
      return Promise.resolve()
    }
    return new Promise((resolve, reject) => {
      if (this.#closing !== undefined) return reject(this.#closing)
      if (signal?.aborted) return reject(signal.reason)
      const ended = () => signal?.removeEventListener('abort', abort)
      const wait: Wait = {
        seqno,
        done: () => (ended(), resolve()),
        fail: error => (ended(), reject(error)),
      }
      const abort = () => {
        this.#remove(vbucket, wait)
        wait.fail(signal!.reason)
      }
      signal?.addEventListener('abort', abort)
      this.#add(vbucket, wait)
    })
  }

  /** Whether somebody waits for a seqno, of a change that is made already or of one to come. */
  get isAwaited(): boolean {
    return this.#waits.size > 0
  }

  /** Waits for a seqno that have not ended. */
  get waiting(): number {
    let count = 0
    for (const { all } of this.#waits.values()) count += all.size
    return count
  }

  /** The vbucket is gone or has been emptied: who waits for its changes waits in vain. */
  forget(vbucket: Vbucket, error: Error): void {
    const waits = this.#waits.get(vbucket)
    this.#waits.delete(vbucket)
    for (const wait of waits?.all ?? []) wait.fail(error)
  }

  /** Who waits for `afterDurable` is told that it is not known whether that will be. */
  giveUp(error: Error): void {
    this.#forDurable.fail(error)
  }

  /** Nothing will be committed any more. */
  close(error: Error): void {
    this.#closing = error
    this.giveUp(error)
    for (const vbucket of this.#waits.keys()) this.forget(vbucket, error)
  }

  /** Everything before this position is in LMDB. */
  committed(position: number): void {
    this.durable(position)
    this.#forCommit.passed(position)
    for (const [vbucket, waits] of this.#waits) this.#settle(vbucket, waits)
  }

  /** Everything before `position` would survive a crash, though it may not be in LMDB yet. */
  durable(position: number): void {
    this.#forDurable.passed(position)
  }

  #after(waiters: PositionWaiters, done: Reached): void {
    const position = this.#changes.end
    if (position <= this.#changes.committed) queueMicrotask(() => done())
    else waiters.add(position, done)
  }

  #settle(vbucket: Vbucket, waits: VbucketWaits): void {
    const seqno = this.#committedSeqno(vbucket)
    if (seqno < waits.lowestSeqno) return
    waits.lowestSeqno = Infinity
    for (const wait of waits.all) {
      if (wait.seqno > seqno) waits.lowestSeqno = Math.min(waits.lowestSeqno, wait.seqno)
      else {
        this.#remove(vbucket, wait)
        wait.done()
      }
    }
  }

  #add(vbucket: Vbucket, wait: Wait): void {
    const waits = this.#waits.get(vbucket)
    if (waits === undefined) {
      this.#waits.set(vbucket, { all: new Set([wait]), lowestSeqno: wait.seqno })
    } else {
      waits.all.add(wait)
      waits.lowestSeqno = Math.min(waits.lowestSeqno, wait.seqno)
    }
  }

  #remove(vbucket: Vbucket, wait: Wait): void {
    const waits = this.#waits.get(vbucket)
    waits?.all.delete(wait)
    if (waits?.all.size === 0) this.#waits.delete(vbucket)
  }

  #committedSeqno({ id, highSeqno }: Vbucket): number {
    return this.#changes.committedSeqno(id, highSeqno)
  }
}
