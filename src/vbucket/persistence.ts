/** Who waits for changes to be on disk, in the order of the change log. */
import type { ChangeLog } from './change-log.ts'
import type { Vbucket } from './vbucket.ts'

interface Waiter {
  /** Position that must have been passed. */
  position: number
  done: () => void
}

/** A wait for a seqno of a vbucket, which may go away meanwhile. */
interface Wait {
  vbucket: Vbucket
  fail: (error: Error) => void
}

export class PersistenceWaiters {
  readonly #changes: ChangeLog
  readonly #waits = new Set<Wait>()
  #waiters: Waiter[] = []
  #first = 0

  constructor(changes: ChangeLog) {
    this.#changes = changes
  }

  /** Calls `done` once everything appended so far is on disk; never from within this call. */
  afterAppended(done: () => void): void {
    const position = this.#changes.end
    if (position <= this.#changes.committed) queueMicrotask(done)
    else this.#waiters.push({ position, done })
  }

  /**
   * Resolves once the vbucket's change with this seqno is on disk, however long it takes to be
   * made. Fails when the vbucket is forgotten before.
   */
  async reached(vbucket: Vbucket, seqno: number): Promise<void> {
    if (vbucket.persistedSeqno >= seqno) return
    let wait: Wait | undefined
    const forgotten = new Promise<never>((_, fail) => this.#waits.add((wait = { vbucket, fail })))
    try {
      await Promise.race([forgotten, this.#reached(vbucket, seqno)])
    } finally {
      this.#waits.delete(wait!)
    }
  }

  /** The vbucket is gone or has been emptied: who waits for its changes waits in vain. */
  forget(vbucket: Vbucket, error: Error): void {
    for (const wait of this.#waits) if (wait.vbucket === vbucket) wait.fail(error)
  }

  /** Nothing will be committed any more. */
  close(error: Error): void {
    for (const wait of this.#waits) wait.fail(error)
  }

  /** Everything before this position is on disk. */
  committed(position: number): void {
    const waiters = this.#waiters
    let next = this.#first
    while (next < waiters.length && waiters[next]!.position <= position) waiters[next++]!.done()
    this.#first = next
    if (next === waiters.length || next > 4096) {
      this.#waiters = waiters.slice(next)
      this.#first = 0
    }
  }

  async #reached(vbucket: Vbucket, seqno: number): Promise<void> {
    if (vbucket.highSeqno < seqno) await appended(vbucket, seqno)
    const position = this.#changes.positionOf(vbucket.id, seqno)
    // What is not in the log any more is on disk.
    if (position < this.#changes.committed) return
    await new Promise<void>(done => this.#insert({ position: position + 1, done }))
  }

  /** Rare: a wait for an older change goes before those for newer ones. */
  #insert(waiter: Waiter): void {
    let place = this.#waiters.length
    while (place > this.#first && this.#waiters[place - 1]!.position > waiter.position) place--
    this.#waiters.splice(place, 0, waiter)
  }
}

function appended(vbucket: Vbucket, seqno: number): Promise<void> {
  return new Promise(resolve => {
    const stop = vbucket.watch(() => {
      if (vbucket.highSeqno < seqno) return
      stop()
      resolve()
    })
  })
}
