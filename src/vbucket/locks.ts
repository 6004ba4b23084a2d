/**
 * Documents that a client has locked for itself for a while (GET_LOCKED). In memory only: a lock
 * ends with the daemon.
 */
export interface DocumentLock {
  casHigh: number
  casLow: number
  untilMs: number
}

export class DocumentLocks {
  readonly #locks = new Map<string, DocumentLock>()

  get isEmpty(): boolean {
    return this.#locks.size === 0
  }

  /** The lock in force on a key. */
  find(
    vbid: number,
    key: Buffer,
    start: number,
    length: number,
    nowMs: number,
  ): DocumentLock | undefined {
    const name = nameOf(vbid, key, start, length)
    const lock = this.#locks.get(name)
    if (lock === undefined || lock.untilMs > nowMs) return lock
    this.#locks.delete(name)
    return undefined
  }

  lock(vbid: number, key: Buffer, start: number, length: number, lock: DocumentLock): void {
    this.#locks.set(nameOf(vbid, key, start, length), lock)
  }

  unlock(vbid: number, key: Buffer, start: number, length: number): void {
    if (this.#locks.size > 0) this.#locks.delete(nameOf(vbid, key, start, length))
  }

  /** Forgets locks that have run out without being looked at again. */
  sweep(nowMs: number): void {
    for (const [name, lock] of this.#locks) if (lock.untilMs <= nowMs) this.#locks.delete(name)
  }

  /** The vbucket is gone or has been emptied. */
  forget(vbid: number): void {
    for (const name of this.#locks.keys()) {
      if (name.startsWith(`${vbid}:`)) this.#locks.delete(name)
    }
  }
}

function nameOf(vbid: number, key: Buffer, start: number, length: number): string {
  return `${vbid}:${key.toString('latin1', start, start + length)}`
}
