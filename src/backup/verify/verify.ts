import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import type { Random } from '../../random.ts'
import type { BackupDocument } from '../archive/documents.ts'
import type { Secret } from '../archive/repository-key.ts'
import { backupNamed } from '../chain.ts'
import { BackupError } from '../errors.ts'
import { Repository, type ListedBackup } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { VerifyRun } from './verify-run.ts'

export interface VerifyOptions {
  store: ObjectStore
  repository: string
  /** By id or number; all complete ones by default. */
  backup?: string | undefined
  secret?: Secret | undefined
  /** How many of the objects are read, 0 to 100; of the others only the size is looked at. */
  samplePercent: number
  threads?: number
  signal: AbortSignal
  report: (event: VerifyEvent) => void
  clock?: Clock
  random?: Random
}

export type VerifyEvent =
  /** Something that is not as it should be. */
  | { readonly type: 'damage'; readonly backup: string; readonly message: string }
  /** Something that harms no backup. */
  | { readonly type: 'note'; readonly message: string }
  | {
      readonly type: 'progress'
      readonly records: number
      readonly bytesRead: number
      /** Of all objects, how many bytes are in those that were looked at, read or not. */
      readonly bytes: number
      readonly bytesTotal: number
    }

export interface VerifyResult {
  backups: number
  objects: number
  /** Of these, how many were read from their first byte to the last. */
  objectsRead: number
  records: number
  bytesRead: number
  damages: number
}

const progressIntervalMs = 500

/**
 * Looks whether backups are what they say: manifests, that each continues the one that it says it does,
 * every object's size; and of those that are read, every checksum, seqno and count.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const { store, signal, report, clock = clientClock } = options
  const repository = await Repository.open(store, options.repository)
  const key = await repository.openKey(options.secret)
  const listed = await repository.backups()
  const chosen = chosenOf(listed, options)
  const run = new VerifyRun(options, repository, key, {
    all: documentsOf(listed),
    chosen: documentsOf(chosen),
  })
  const ticking = clock.every(progressIntervalMs, () => run.reportProgress())
  try {
    for (const { id, state, document } of chosen) {
      signal.throwIfAborted()
      if (document) await run.look(document)
      else if (state === 'damaged') await run.lookAtDocument(id)
      else
        report({
          type: 'note',
          message: `backup ${id} is not looked at: it is ${stateText(state)}`,
        })
    }
  } finally {
    ticking.cancel()
  }
  run.reportProgress()
  return run.result
}

function stateText(state: ListedBackup['state']): string {
  return state === 'removed' ? 'what is left of a removed one' : state
}

function chosenOf(
  listed: readonly ListedBackup[],
  { backup, repository }: VerifyOptions,
): readonly ListedBackup[] {
  if (backup === undefined) return listed
  const found = backupNamed(listed, backup)
  if (found.state === 'complete' || found.state === 'damaged') return [found]
  throw new BackupError('missing', `there is no complete backup ${backup} in ${repository}`)
}

function documentsOf(listed: readonly ListedBackup[]): BackupDocument[] {
  return listed.flatMap(({ document }) => document ?? [])
}
