import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import type { BackupDocument } from '../archive/documents.ts'
import type { Secret } from '../archive/repository-key.ts'
import type { BackupRange } from '../chain.ts'
import { whileLocked } from '../locked-work.ts'
import { Repository } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { finishMerges, sweepMerge } from './merge-rests.ts'
import { mergeRange } from './merge-range.ts'
import { MergeRun } from './merge-run.ts'

export interface MergeOptions {
  store: ObjectStore
  repository: string
  /** By default from the full backup on, up to the newest. */
  range: BackupRange
  secret?: Secret | undefined
  lockTimeoutMs?: number
  threads?: number
  blockBytes?: number
  segmentBytes?: number
  /** Of a vbucket, that are in memory at a time. */
  keysMax?: number
  signal: AbortSignal
  report: (event: MergeEvent) => void
  clock?: Clock
}

export type MergeEvent =
  | { readonly type: 'merge'; readonly backups: readonly string[] }
  | {
      readonly type: 'progress'
      readonly vbuckets: number
      readonly vbucketsTotal: number
      /** Read so far, of all that there is to be read; some of it more than once. */
      readonly bytes: number
      readonly bytesTotal: number
    }
  | { readonly type: 'note'; readonly message: string }

export interface MergeResult {
  /** That are one now, oldest first; the last one has them. */
  readonly merged: readonly string[]
  readonly backup: BackupDocument
}

const defaultThreads = 2

/**
 * Makes one backup of several that continue each other. It is the newest of them that takes up the
 * others: it keeps its name, so that those behind it continue it as before. It becomes so in one step,
 * when its `backup.json` is replaced; up to then all are as they were, and from then on those
 * in front of it are not needed any more, and removed. Whatever interrupts it: run again, it goes on.
 */
export async function merge(options: MergeOptions): Promise<MergeResult> {
  const { store, secret, signal, report, lockTimeoutMs = 0, clock = clientClock } = options
  const { threads = defaultThreads } = options
  const repository = await Repository.open(store, options.repository)
  const key = await repository.openKey(secret)
  const lock = { store, repository: repository.name, clock, timeoutMs: lockTimeoutMs, signal }
  return await whileLocked({ ...lock, work: 'merge' }, async ({ signal, verifyLock }) => {
    const rests = { repository, threads, signal, report }
    await finishMerges(rests, await repository.backups())
    const listed = await repository.backups()
    const range = await mergeRange(repository, listed, options.range)
    const last = range.at(-1)!
    for (const { document } of listed)
      if (document && document.id !== last.id) await sweepMerge(rests, document)
    if (range.length === 1) return { merged: [...(last.merged ?? []), last.id], backup: last }
    report({ type: 'merge', backups: range.map(({ id }) => id) })
    const run = new MergeRun({ ...options, threads, signal, clock }, repository, key, range)
    const backup = await run.run(verifyLock)
    await finishMerges(rests, await repository.backups())
    return { merged: range.map(({ id }) => id), backup }
  })
}
