import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { hostname } from 'node:os'
import { z } from 'zod'
import type { Clock, Timer } from '../clock.ts'
import { decodeDocument, encodeDocument } from './archive/documents.ts'
import { lockKeyOf } from './archive/layout.ts'
import { BackupError } from './errors.ts'
import { pause } from './pause.ts'
import type { ObjectStore } from './store/object-store.ts'

const lockSchema = z.strictObject({
  format: z.literal('holdfast-backup-lock'),
  version: z.literal(1),
  id: z.uuid(),
  /** What is being done, and by whom. */
  work: z.string(),
  host: z.string(),
  boot: z.string(),
  pid: z.int(),
  since: z.iso.datetime(),
  heartbeat: z.iso.datetime(),
})
export type LockDocument = z.infer<typeof lockSchema>

const heartbeatIntervalMs = 15_000
/** Many heartbeats, and more than clocks of machines differ. */
const staleAfterMs = 5 * 60_000
const pollIntervalMs = 500
/** After taking a stale lock over: long enough that another who did the same has written, too. */
const settleMs = 250

/**
 * One writer at a time in a repository. The lock is an object, put where there is none, and put again
 * by a heartbeat. One whose process is gone, or whose heartbeat has long stopped, is taken over.
 */
export class RepositoryLock {
  readonly #store: ObjectStore
  readonly #key: string
  readonly #clock: Clock
  readonly #onLost: (error: BackupError) => void
  #document: LockDocument
  #timer: Timer | undefined
  #beating: Promise<void> | undefined

  private constructor(
    store: ObjectStore,
    key: string,
    clock: Clock,
    document: LockDocument,
    onLost: (error: BackupError) => void,
  ) {
    this.#store = store
    this.#key = key
    this.#clock = clock
    this.#document = document
    this.#onLost = onLost
    this.#timer = clock.every(heartbeatIntervalMs, () => this.#beat())
  }

  /**
   * Waits up to `timeoutMs` for who has it. `onLost` is called if somebody takes it away later: then
   * nothing more may be written.
   */
  static async acquire(options: {
    store: ObjectStore
    repository: string
    work: string
    clock: Clock
    timeoutMs: number
    signal: AbortSignal
    onLost: (error: BackupError) => void
  }): Promise<RepositoryLock> {
    const { store, repository, work, clock, timeoutMs, signal, onLost } = options
    const key = lockKeyOf(repository)
    const deadlineMs = clock.monotonicMs() + timeoutMs
    for (;;) {
      const document = newLock(work, clock.nowMs())
      if (await store.putIfAbsent(key, encodeDocument(document)))
        return new RepositoryLock(store, key, clock, document, onLost)
      const holder = await readLock(store, repository)
      if (holder && isStale(holder, clock.nowMs())) {
        await store.put(key, encodeDocument(document))
        await pause(clock, settleMs)
        if ((await readLock(store, repository))?.id === document.id)
          return new RepositoryLock(store, key, clock, document, onLost)
      } else if (holder && clock.monotonicMs() >= deadlineMs) {
        throw new BackupError('locked', `repository ${repository} is locked: ${tell(holder)}`)
      }
      await pause(clock, pollIntervalMs, signal)
      if (signal.aborted) throw new BackupError('interrupted', 'stopped while waiting for the lock')
    }
  }

  /** Throws if it is not ours any more. */
  async verify(): Promise<void> {
    await this.#beating
    const bytes = await this.#store.get(this.#key)
    const holder = bytes && decodeDocument(lockSchema, bytes, this.#key)
    if (holder?.id === this.#document.id) return
    const who = holder ? `by ${tell(holder)}` : 'with unlock'
    throw new BackupError('locked', `the lock of the repository was taken away ${who}`)
  }

  /** Leaves it where it is, to be taken over when this process is gone. */
  abandon(): void {
    this.#stop()
  }

  async release(): Promise<void> {
    this.#stop()
    await this.#beating
    await this.verify()
    await this.#store.remove(this.#key)
  }

  #stop(): void {
    this.#timer?.cancel()
    this.#timer = undefined
  }

  #beat(): void {
    this.#beating ??= this.#refresh()
      .catch((error: unknown) => {
        // A store that cannot be reached for a while is told of by those who need it.
        if (!(error instanceof BackupError) || error.code !== 'locked') return
        this.#stop()
        this.#onLost(error)
      })
      .finally(() => (this.#beating = undefined))
  }

  async #refresh(): Promise<void> {
    const bytes = await this.#store.get(this.#key)
    const holder = bytes && decodeDocument(lockSchema, bytes, this.#key)
    if (holder?.id !== this.#document.id)
      throw new BackupError('locked', 'the lock of the repository was taken away')
    const heartbeat = new Date(this.#clock.nowMs()).toISOString()
    this.#document = { ...this.#document, heartbeat }
    await this.#store.put(this.#key, encodeDocument(this.#document))
  }
}

export async function readLock(
  store: ObjectStore,
  repository: string,
): Promise<LockDocument | undefined> {
  const key = lockKeyOf(repository)
  const bytes = await store.get(key)
  return bytes && decodeDocument(lockSchema, bytes, key)
}

/** For a person who knows that nobody is at work: removes the lock, and answers whose it was. */
export async function breakLock(
  store: ObjectStore,
  repository: string,
): Promise<string | undefined> {
  const holder = await readLock(store, repository)
  await store.remove(lockKeyOf(repository))
  return holder && tell(holder)
}

function newLock(work: string, nowMs: number): LockDocument {
  const time = new Date(nowMs).toISOString()
  return {
    format: 'holdfast-backup-lock',
    version: 1,
    id: randomUUID(),
    work,
    host: hostname(),
    boot: bootId(),
    pid: process.pid,
    since: time,
    heartbeat: time,
  }
}

function isStale(lock: LockDocument, nowMs: number): boolean {
  if (nowMs - Date.parse(lock.heartbeat) > staleAfterMs) return true
  if (lock.host !== hostname()) return false
  return lock.boot !== bootId() || !isAlive(lock.pid)
}

/** Whether the process is there; one that may not be signalled is. */
function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code !== 'ESRCH'
  }
}

/** Tells one start of the machine from the next, after which process ids begin anew. */
function bootId(): string {
  try {
    return readFileSync('/proc/sys/kernel/random/boot_id', 'utf8').trim()
  } catch {
    return ''
  }
}

function tell({ work, pid, host, since }: LockDocument): string {
  return `${work}, process ${pid} on ${host}, since ${since}`
}
