import { clientClock } from '../../client/client-clock.ts'
import { KvClient } from '../../client/index.ts'
import type { Clock } from '../../clock.ts'
import { systemRandom, type Random } from '../../random.ts'
import type { BackupDocument, DataObject } from '../archive/documents.ts'
import type { Secret } from '../archive/repository-key.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { readBlocks } from '../data-object.ts'
import { BackupError } from '../errors.ts'
import { forEachOf } from '../lanes.ts'
import { Repository } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { DocumentSender, type SendResult } from './document-sender.ts'

export interface RestoreOptions {
  store: ObjectStore
  repository: string
  /** The documents as of this backup; the last complete one by default. */
  backup?: string | undefined
  target: BucketAddress
  secret?: Secret | undefined
  /** Overwrites whatever the bucket has; else the newer version of a document stays. */
  force?: boolean
  threads?: number
  signal: AbortSignal
  report: (progress: RestoreProgress) => void
  clock?: Clock
  random?: Random
}

export interface RestoreProgress {
  readonly type: 'progress'
  readonly applied: number
  readonly skipped: number
  /** Of all records in the backups that are gone through. */
  readonly total: number
}

export interface RestoreResult extends SendResult {
  /** Those that were gone through, oldest first. */
  readonly backups: readonly string[]
}

const progressIntervalMs = 500
const persistTimeoutMs = 600_000
const defaultThreads = 4

/** Where the changes of one vbucket are, in the order in which they are applied. */
interface Source {
  readonly backupId: string
  readonly object: DataObject
}

/**
 * Brings the documents of a backup into a bucket, with CAS, revision, expiry and datatype as they
 * were. A vbucket's changes are applied in their order, through the whole chain of backups;
 * several vbuckets at a time. When it resolves, all of it is on the daemon's disk. It may be run
 * again: what the bucket has already is skipped.
 */
export async function restore(options: RestoreOptions): Promise<RestoreResult> {
  const { store, secret, target, signal, report } = options
  const { threads = defaultThreads, clock = clientClock, random = systemRandom } = options
  const repository = await Repository.open(store, options.repository)
  const key = await repository.openKey(secret)
  const chain = await repository.chainTo(await chosenBackup(repository, options.backup))
  const sources = new Map<number, Source[]>()
  let total = 0
  for (const backup of chain) {
    for (const object of (await repository.manifest(backup, key)).objects) {
      const { mutation, deletion, expiration } = object.counts
      total += mutation + deletion + expiration
      const before = sources.get(object.vbid) ?? []
      sources.set(object.vbid, [...before, { backupId: backup.id, object }])
    }
  }
  const result: SendResult = { applied: 0, skipped: 0 }
  const tell = () => report({ type: 'progress', ...result, total })
  const ticking = clock.every(progressIntervalMs, tell)
  const idle: DocumentSender[] = []
  const force = options.force ?? false
  try {
    await forEachOf(sources.values(), threads, async list => {
      const sender = idle.pop() ?? new DocumentSender({ target, force, clock, random, signal })
      try {
        for (const { backupId, object } of list)
          for await (const records of readBlocks({ repository, backupId, key }, object))
            await sender.send(records, result)
      } finally {
        idle.push(sender)
      }
    })
    await untilPersisted(target)
  } finally {
    ticking.cancel()
    await Promise.all(idle.map(sender => sender.close()))
  }
  tell()
  return { ...result, backups: chain.map(({ id }) => id) }
}

async function chosenBackup(
  repository: Repository,
  id: string | undefined,
): Promise<BackupDocument> {
  if (id !== undefined) {
    const found = await repository.backup(id)
    if (found) return found
    throw new BackupError('missing', `there is no complete backup ${id} in ${repository.name}`)
  }
  const complete = (await repository.backups()).flatMap(({ document }) => document ?? [])
  const last = complete.at(-1)
  if (last) return last
  throw new BackupError('missing', `there is no complete backup in ${repository.name}`)
}

/** Until then a crash of the daemon could take some of it back. */
async function untilPersisted(target: BucketAddress): Promise<void> {
  const client = await KvClient.connect({ ...target, agent: 'holdfast restore' })
  try {
    const options = { timeoutMs: persistTimeoutMs }
    const seqnos = [...(await client.allVbSeqnos())]
    await Promise.all(
      seqnos
        .filter(([, seqno]) => seqno > 0)
        .map(([vbid, seqno]) => client.seqnoPersisted(vbid, seqno, options)),
    )
  } finally {
    await client.close()
  }
}
