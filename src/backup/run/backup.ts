import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import { silentLog, type Log } from '../../log.ts'
import type { CompressionName } from '../archive/compression.ts'
import type { BackupDocument, Manifest } from '../archive/documents.ts'
import { BackupFile, backupIdOf } from '../archive/layout.ts'
import { defaultBlockBytes, defaultSegmentBytes } from '../archive/object-writer.ts'
import { SegmentMakers } from '../archive/segment-makers.ts'
import { FillingBlocks } from '../archive/filling-blocks.ts'
import { SpareBlocks } from '../archive/spare-blocks.ts'
import type { Secret } from '../archive/repository-key.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { chainAmong } from '../chain.ts'
import { BackupError } from '../errors.ts'
import { RepositoryLock } from '../lock.ts'
import { finishMerges } from '../merge/merge-rests.ts'
import { dropBackup } from '../remove/drop-backup.ts'
import { Repository, type ListedBackup } from '../repository.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { abortUploadsBelow, expectUploadsListed } from '../store/uploads-below.ts'
import { BackupRun } from './backup-run.ts'
import type { BackupEvent } from './context.ts'
import type { Plan } from './journal.ts'
import { loadState, nothingJournalled, type RunState } from './run-state.ts'
import { SourceNode } from './source-node.ts'
import { Staging } from './staging.ts'

export interface BackupOptions {
  store: ObjectStore
  repository: string
  source: BucketAddress
  /** Where state is kept meanwhile. */
  stagingRoot: string
  /** What to do with a last backup that is unfinished; without one both begin a new backup. */
  unfinished?: 'resume' | 'purge' | undefined
  full?: boolean
  /** Of a repository that is made now. */
  compression?: CompressionName | undefined
  secret?: Secret | undefined
  lockTimeoutMs?: number
  threads?: number
  blockBytes?: number
  segmentBytes?: number
  /** Vbuckets with less than this lie together in packs; 0: each has an object of its own. */
  packBelow?: number | undefined
  signal: AbortSignal
  report: (event: BackupEvent) => void
  clock?: Clock
  log?: Log
}

const defaultThreads = 4
/** What S3 takes no part below but as the last one: with so little, a vbucket could not be gone on with. */
const defaultPackBelow = 5 * 1024 * 1024
/** Four that are being sealed, and as many of vbuckets that are being closed. */
const sparesPerThread = 8

/** Backs up a bucket: all of it at first, then what has changed since. */
export async function backUp(options: BackupOptions): Promise<BackupDocument> {
  return await new Backup(options).run()
}

class Backup {
  readonly #options: BackupOptions
  readonly #clock: Clock
  readonly #stopping = new AbortController()
  readonly #signal: AbortSignal
  readonly #node: SourceNode
  #gaveUp = false

  constructor(options: BackupOptions) {
    this.#options = options
    this.#clock = options.clock ?? clientClock
    this.#signal = AbortSignal.any([options.signal, this.#stopping.signal])
    const { source: address } = options
    this.#node = new SourceNode({ address, clock: this.#clock, signal: this.#signal })
  }

  async run(): Promise<BackupDocument> {
    const { store, repository: name, secret, lockTimeoutMs = 0 } = this.#options
    try {
      const repository =
        (await Repository.find(store, name)) ?? (await this.#createRepository(name))
      checkCompression(repository, this.#options.compression)
      const key = await repository.openKey(secret)
      const lock = await RepositoryLock.acquire({
        store,
        repository: name,
        work: 'backup',
        clock: this.#clock,
        timeoutMs: lockTimeoutMs,
        signal: this.#signal,
        onLost: error => this.#stopping.abort(error),
      })
      try {
        return await this.#runLocked(repository, key, () => lock.verify())
      } finally {
        // If somebody took it away, it is not ours to remove. And while a part may still arrive, nobody
        // else should begin: whoever comes when this process is gone takes the lock over.
        if (this.#gaveUp) lock.abandon()
        else await lock.release().catch(() => {})
      }
    } finally {
      await this.#node.close()
    }
  }

  async #createRepository(name: string): Promise<Repository> {
    const { store, compression = 'snappy', secret } = this.#options
    const bucket = await this.#bucket()
    const nowMs = this.#clock.nowMs()
    return await Repository.create(store, name, { compression, secret, bucket, nowMs })
  }

  async #runLocked(
    repository: Repository,
    repositoryKey: Uint8Array | undefined,
    verify: () => Promise<void>,
  ): Promise<BackupDocument> {
    const { store, report, threads = defaultThreads } = this.#options
    const { blockBytes = defaultBlockBytes, packBelow = defaultPackBelow } = this.#options
    const { partBytesMin } = store.limits
    const segmentBytes = Math.max(this.#options.segmentBytes ?? defaultSegmentBytes, partBytesMin)
    // What a crash leaves is found by that list. Whoever may not have it hears of it now, not when all is
    // streamed.
    await expectUploadsListed(store, `${repository.name}/`)
    const backups = await repository.backups()
    const tidied = await this.#tidy(repository, backups)
    if (tidied && this.#options.unfinished === 'resume') {
      report({ type: 'note', message: `backup ${tidied.id} was complete when its run ended` })
      return tidied
    }
    const { state, backupId } = await this.#prepare(repository, backups, repositoryKey)
    const staging = this.#staging(repository, backupId)
    const spareBlocks = new SpareBlocks(blockBytes, sparesPerThread * threads)
    const fillingBlocks = new FillingBlocks(blockBytes, threads)
    const makers = new SegmentMakers(spareBlocks)
    const context = {
      store,
      backupId,
      prefix: repository.prefix(backupId),
      compression: repository.document.compression,
      repositoryKey,
      blockBytes,
      spareBlocks,
      fillingBlocks,
      makers,
      segmentBytes,
      packBelow: Math.min(packBelow, segmentBytes),
      threads,
      clock: this.#clock,
      signal: this.#signal,
      report,
    }
    const loaded = state ?? (await loadState(context, staging))
    report({ type: 'backup', id: backupId, kind: loaded.plan.type })
    const run = new BackupRun(context, staging, loaded, async ({ bucket }) => {
      checkBucket(repository.name, bucket, await this.#bucket())
      return {
        source: this.#options.source,
        node: this.#node,
        name: `holdfast-backup ${repository.document.id} ${backupId}`,
        log: this.#options.log ?? silentLog,
      }
    })
    let document: BackupDocument
    try {
      document = await run.run(verify)
    } finally {
      this.#gaveUp = run.gaveUp
      await makers.close()
    }
    await this.#removeTraces(repository, backupId)
    return document
  }

  /** What is to be gone on with, or begun. */
  async #prepare(
    repository: Repository,
    backups: readonly ListedBackup[],
    key: Uint8Array | undefined,
  ): Promise<{ state: RunState | undefined; backupId: string }> {
    const { unfinished: what, report } = this.#options
    const unfinished = backups.filter(({ state }) => state === 'unfinished')
    if (unfinished.length > 0 && what === undefined)
      throw new BackupError(
        'unfinished',
        `backup ${unfinished[0]!.id} is unfinished: --resume goes on with it, --purge drops it`,
      )
    if (unfinished.length > 0 && what === 'resume')
      return { state: undefined, backupId: unfinished.at(-1)!.id }
    const complete = backups.filter(({ document }) => document !== undefined)
    // Made first: whoever is refused, or cannot reach the bucket, still has what is unfinished.
    const plan = await this.#newPlan(repository, complete, key)
    for (const { id } of unfinished) {
      report({ type: 'note', message: `dropping unfinished backup ${id}` })
      await this.#drop(repository, id)
    }
    return { state: { plan, journals: nothingJournalled() }, backupId: plan.backup }
  }

  async #newPlan(
    repository: Repository,
    complete: readonly ListedBackup[],
    key: Uint8Array | undefined,
  ): Promise<Plan> {
    const bucket = await this.#bucket()
    checkBucket(repository.name, repository.document.bucket, bucket)
    const last = complete.at(-1)
    const previous = this.#options.full ? undefined : this.#toContinue(complete)
    const manifest = previous && (await repository.manifest(previous, key))
    const base = this.#knowsCollections(manifest) ? manifest : undefined
    const startedMs = this.#clock.nowMs()
    return {
      format: 'holdfast-backup-plan',
      version: 1,
      backup: backupIdOf((last?.number ?? 0) + 1, startedMs),
      repository: repository.document.id,
      type: base ? 'incremental' : 'full',
      ...(base ? { previous: base.backup } : {}),
      started: new Date(startedMs).toISOString(),
      bucket,
      runs: 0,
      steps: [],
      positions: base?.vbuckets ?? [],
    }
  }

  /** The last backup; undefined, and so a full one is made, if those that it continues are gone. */
  #toContinue(complete: readonly ListedBackup[]): BackupDocument | undefined {
    const documents = complete.flatMap(({ document }) => document ?? [])
    const last = documents.at(-1)
    if (last && !chainAmong(documents, last)) {
      const message = `${last.id} continues a backup that is not there: making a full one`
      this.#options.report({ type: 'note', message })
      return undefined
    }
    return last
  }

  /** What was in others was not asked for, and would be missing before this backup. */
  #knowsCollections(manifest: Manifest | undefined): boolean {
    if (manifest === undefined || manifest.collections !== undefined) return true
    const message = `${manifest.backup} has the default collection alone: making a full one`
    this.#options.report({ type: 'note', message })
    return false
  }

  /**
   * A run that was killed behind its last step has left what only a running one needs; answers with
   * its backup, of which nobody has heard yet that it is complete.
   */
  async #tidy(
    repository: Repository,
    backups: readonly ListedBackup[],
  ): Promise<BackupDocument | undefined> {
    const { store, threads = defaultThreads, report } = this.#options
    await finishMerges({ repository, threads, signal: this.#signal, report }, backups)
    for (const { id } of backups.filter(({ state }) => state === 'removed')) {
      report({ type: 'note', message: `removing what is left of backup ${id}` })
      const prefix = repository.prefix(id)
      await dropBackup({ store, prefix, threads, signal: this.#signal })
    }
    const damaged = backups.find(({ state }) => state === 'damaged')
    if (damaged)
      throw new BackupError(
        'damaged',
        `backup.json of ${damaged.id} cannot be read: verify tells more`,
      )
    const last = backups.at(-1)
    if (!last?.document) return undefined
    const checkpoint = `${repository.prefix(last.id)}${BackupFile.checkpoint}`
    const hasTraces =
      (await this.#options.store.size(checkpoint)) !== undefined ||
      (await this.#staging(repository, last.id).exists())
    if (!hasTraces) return undefined
    await this.#removeTraces(repository, last.id)
    return last.document
  }

  async #removeTraces(repository: Repository, backupId: string): Promise<void> {
    await this.#options.store.remove(`${repository.prefix(backupId)}${BackupFile.checkpoint}`)
    await this.#staging(repository, backupId).remove()
  }

  /** Its uploads first: while there is an object, the backup can be seen and dropped again. */
  async #drop(repository: Repository, backupId: string): Promise<void> {
    const { store, threads = defaultThreads } = this.#options
    const prefix = repository.prefix(backupId)
    await abortUploadsBelow(store, prefix, threads)
    const keys = []
    for await (const { key } of store.list(prefix)) keys.push(key)
    const checkpoint = `${prefix}${BackupFile.checkpoint}`
    for (const key of keys.filter(key => key !== checkpoint)) await store.remove(key)
    await store.remove(checkpoint)
    await this.#staging(repository, backupId).remove()
  }

  #staging(repository: Repository, backupId: string): Staging {
    return new Staging(this.#options.stagingRoot, repository.document.id, backupId)
  }

  async #bucket(): Promise<{ name: string; uuid: string }> {
    const { uuid } = await this.#node.ask(client => client.clusterConfig())
    const { bucket } = this.#options.source
    return { name: bucket, uuid: typeof uuid === 'string' ? uuid : '' }
  }
}

interface BucketIdentity {
  readonly name: string
  readonly uuid: string
}

/** What a repository was made with holds for all of its backups. */
function checkCompression({ name, document }: Repository, wanted: CompressionName | undefined) {
  if (wanted === undefined || wanted === document.compression) return
  const message = `repository ${name} was made with compression ${document.compression}, not ${wanted}`
  throw new BackupError('mismatch', `${message}: leave it out, or use another repository`)
}

function checkBucket(repository: string, known: BucketIdentity, found: BucketIdentity): void {
  if (found.uuid === known.uuid && found.name === known.name) return
  throw new BackupError(
    'mismatch',
    `repository ${repository} is of bucket ${known.name} (${known.uuid}), ` +
      `not of ${found.name} (${found.uuid}): use another repository`,
  )
}
