import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import { systemRandom, type Random } from '../../random.ts'
import type { Secret } from '../archive/repository-key.ts'
import type { BucketAddress } from '../bucket-address.ts'
import type { BackupRange } from '../chain.ts'
import { BackupError } from '../errors.ts'
import { Repository } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { Throttle } from '../throttle.ts'
import {
  CollectionRoutes,
  selectCollections,
  type CollectionSelection,
} from './collection-routes.ts'
import { DocumentFilter, type DocumentSelection } from './document-filter.ts'
import { vbucketsText } from './node-map.ts'
import { RestoreJournal, type RestoreJournalDocument } from './restore-journal.ts'
import { planRestore } from './restore-plan.ts'
import { RestoreRun, type RestoreCounts } from './restore-run.ts'
import { RestoreTarget } from './restore-target.ts'

export interface RestoreOptions extends BackupRange, DocumentSelection, CollectionSelection {
  store: ObjectStore
  repository: string
  target: BucketAddress
  secret?: Secret | undefined
  /** Overwrites whatever the bucket has; else the newer version of a document stays. */
  force?: boolean
  /** Goes on with the same restore, if it was interrupted. */
  resume?: boolean
  /** Where state is kept meanwhile. */
  stagingRoot: string
  threads?: number
  /** To the bucket; no limit by default. */
  changesPerSecond?: number | undefined
  signal: AbortSignal
  report: (event: RestoreEvent) => void
  clock?: Clock
  random?: Random
}

export type RestoreEvent =
  | { readonly type: 'note'; readonly message: string }
  | ({
      readonly type: 'progress'
      /** Of all changes in the backups that are gone through. */
      readonly total: number
      /** Of keys and values, gone through in this run; and of all of them. */
      readonly documentBytes: number
      readonly documentBytesTotal: number
    } & Readonly<RestoreCounts>)

export interface RestoreResult extends RestoreCounts {
  /** Those that were gone through, oldest first. */
  readonly backups: readonly string[]
}

const progressIntervalMs = 500
const defaultThreads = 4

/**
 * Brings the documents of a backup into a bucket, with CAS, revision, expiry and datatype as they
 * were. A vbucket's changes are applied in their order, through the whole chain of backups;
 * several vbuckets at a time. When it resolves, all of it is on the bucket's disks. It may be run
 * again: what the bucket has already is skipped.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  const { store, secret, report, keyPrefixes, keyPattern, changesPerSecond } = options
  const { threads = defaultThreads, clock = clientClock, random = systemRandom } = options
  const { force = false, signal } = options
  const { collections, scopes, collectionMap } = options
  const selection = { keyPrefixes, keyPattern, collections, scopes, collectionMap }
  const filter = new DocumentFilter(selection)
  const repository = await Repository.open(store, options.repository)
  const key = await repository.openKey(secret)
  const plan = await planRestore(repository, key, options)
  const selected = selectCollections(plan.collections, selection)
  const target = await RestoreTarget.open(options.target)
  try {
    const routes = await openRoutes(selected, target)
    const journal = new RestoreJournal(options.stagingRoot, {
      repository: repository.document.id,
      backups: plan.backups,
      bucket: options.target.bucket,
      bucketUuid: target.bucketUuid,
      force,
      selection,
    })
    const changes = changesPerSecond ? new Throttle(changesPerSecond, clock) : undefined
    const begun = options.resume ? await resumed(journal, target, report) : undefined
    const run = new RestoreRun(
      {
        repository,
        key,
        plan,
        target,
        filter,
        routes,
        force,
        threads,
        changes,
        journal,
        clock,
        random,
        signal,
      },
      begun,
    )
    const tell = () =>
      report({
        type: 'progress',
        ...run.counts,
        total: plan.records,
        documentBytes: run.documentBytes,
        documentBytesTotal: plan.documentBytes,
      })
    const ticking = clock.every(progressIntervalMs, tell)
    try {
      await run.run()
    } finally {
      ticking.cancel()
      tell()
    }
    return { ...run.counts, backups: plan.backups }
  } finally {
    target.close()
  }
}

async function openRoutes(
  selected: ReturnType<typeof selectCollections>,
  target: RestoreTarget,
): Promise<CollectionRoutes> {
  const client = await target.connect(0)
  try {
    return await CollectionRoutes.open(selected, client, target.hasCollections)
  } finally {
    await client.close()
  }
}

async function resumed(
  journal: RestoreJournal,
  target: RestoreTarget,
  report: RestoreOptions['report'],
): Promise<RestoreJournalDocument | undefined> {
  const begun = await journal.read()
  if (!begun) {
    const message = 'there is no such restore to go on with: it begins from the start'
    report({ type: 'note', message })
    return undefined
  }
  const seqnos = await target.seqnos()
  const lost = begun.seqnos.flatMap(([vbid, seqno]) =>
    (seqnos.get(vbid) ?? 0) < seqno ? vbid : [],
  )
  if (lost.length > 0)
    throw new BackupError(
      'rollback',
      `the bucket has lost what was restored into ${vbucketsText(lost)}: restore without --resume`,
    )
  const { applied, skipped, filtered } = begun.counts
  report({ type: 'note', message: `going on behind ${applied + skipped + filtered} changes` })
  return begun
}
