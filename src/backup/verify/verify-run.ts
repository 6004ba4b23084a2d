import { systemRandom } from '../../random.ts'
import type { BackupDocument, DataObject } from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { recordsIn } from '../archive/record-counts.ts'
import { gapIn } from '../chain.ts'
import { hasSizeFor, keyOfObject, readBlocks, type ReadableBackup } from '../data-object.ts'
import { damaged, isDamage } from '../errors.ts'
import { forEachOf } from '../lanes.ts'
import { manifestNameOf, type Repository } from '../repository.ts'
import { faultsBetween, faultsWithin, type ReadBackup } from './faults.ts'
import type { VerifyOptions, VerifyResult } from './verify.ts'

const defaultThreads = 2

/** Looks at one backup after the other; what is damaged is told, and the rest looked at nevertheless. */
export class VerifyRun {
  readonly result: VerifyResult = {
    backups: 0,
    objects: 0,
    objectsRead: 0,
    records: 0,
    bytesRead: 0,
    damages: 0,
  }
  readonly #options: VerifyOptions
  readonly #repository: Repository
  readonly #key: Uint8Array | undefined
  /** Of the repository, not only those that are looked at. */
  readonly #documents: readonly BackupDocument[]
  /** The last one that was read: mostly that which the next one continues. */
  #last: ReadBackup | undefined
  #bytes = 0
  readonly #bytesTotal: number

  constructor(
    options: VerifyOptions,
    repository: Repository,
    key: Uint8Array | undefined,
    backups: { all: readonly BackupDocument[]; chosen: readonly BackupDocument[] },
  ) {
    this.#options = options
    this.#repository = repository
    this.#key = key
    this.#documents = backups.all
    this.#bytesTotal = backups.chosen.reduce((sum, { storedBytes }) => sum + storedBytes, 0)
  }

  reportProgress(): void {
    const { records, bytesRead } = this.result
    const [bytes, bytesTotal] = [Math.round(this.#bytes), this.#bytesTotal]
    this.#options.report({ type: 'progress', records, bytesRead, bytes, bytesTotal })
  }

  /** One whose `backup.json` could not be read: says why. */
  async lookAtDocument(id: string): Promise<void> {
    this.result.backups++
    await this.#told(id, async () => void (await this.#repository.backup(id)))
  }

  async look(backup: BackupDocument): Promise<void> {
    this.result.backups++
    const { id } = backup
    const gap = gapIn(this.#documents, backup)
    if (gap) this.#tell(id, `${id}: ${gap.id} continues ${gap.previous}, which is not there`)
    await this.#told(id, async () => {
      const manifest = await this.#repository.manifest(backup, this.#key)
      const read = { backup, manifest }
      for (const fault of faultsWithin(read)) this.#tell(id, `${id}: ${fault}`)
      await this.#lookAtSeam(read)
      this.#last = read
      await this.#lookAtObjects(read)
    })
  }

  async #lookAtSeam(read: ReadBackup): Promise<void> {
    const { id } = read.backup
    const backup = this.#documents.find(document => document.id === read.backup.previous)
    if (!backup) return
    const previous = await this.#previous(backup)
    if (!previous) return
    for (const fault of faultsBetween(previous, read)) this.#tell(id, `${id}: ${fault}`)
  }

  /** Undefined if it cannot be read, which is told where its own turn is. */
  async #previous(backup: BackupDocument): Promise<ReadBackup | undefined> {
    if (this.#last?.backup === backup) return this.#last
    try {
      return { backup, manifest: await this.#repository.manifest(backup, this.#key) }
    } catch (error) {
      if (isDamage(error)) return undefined
      throw error
    }
  }

  async #lookAtObjects({ backup, manifest }: ReadBackup): Promise<void> {
    const { threads = defaultThreads, report } = this.#options
    const readable = { repository: this.#repository, backupId: backup.id, key: this.#key }
    const sizes = await this.#sizesBelow(backup)
    await forEachOf(manifest.objects, threads, async object => {
      const name = keyOfObject(readable, object)
      const size = sizes.get(name)
      await this.#told(backup.id, () => this.#lookAtObject(readable, object, size))
    })
    // Several of them may lie in one.
    for (const object of manifest.objects) sizes.delete(keyOfObject(readable, object))
    const strays = straysIn(sizes.keys(), this.#repository.prefix(backup.id), backup)
    if (strays.length === 0) return
    const which = `${strays.length} under its prefix that it does not name, such as ${strays[0]}`
    report({ type: 'note', message: `${backup.id}: ${which}` })
  }

  /** One list for all, instead of a question for each. */
  async #sizesBelow({ id }: BackupDocument): Promise<Map<string, number>> {
    const sizes = new Map<string, number>()
    for await (const { key, size } of this.#repository.store.list(this.#repository.prefix(id)))
      sizes.set(key, size)
    return sizes
  }

  async #lookAtObject(
    backup: ReadableBackup,
    object: DataObject,
    size: number | undefined,
  ): Promise<void> {
    const { signal, samplePercent, random = systemRandom } = this.#options
    signal.throwIfAborted()
    this.result.objects++
    const name = keyOfObject(backup, object)
    let left = object.size
    try {
      if (size === undefined) throw damaged(`${name} is missing`)
      if (!hasSizeFor(object, size))
        throw damaged(`${name} has ${size} bytes, not ${(object.offset ?? 0) + object.size}`)
      if (random.fraction() * 100 >= samplePercent) return
      const records = recordsIn(object.counts)
      let isFirst = true
      for await (const block of readBlocks(backup, object)) {
        signal.throwIfAborted()
        if (isFirst && block[0]!.seqno < object.firstSeqno)
          throw damaged(`${name} begins in front of seqno ${object.firstSeqno}`)
        isFirst = false
        this.result.records += block.length
        const bytes = (object.size * block.length) / records
        this.#bytes += bytes
        left -= bytes
      }
      this.result.objectsRead++
      this.result.bytesRead += object.size
    } finally {
      this.#bytes += left
    }
  }

  /** What is damaged is told, and the rest is looked at nevertheless. */
  async #told(backup: string, work: () => Promise<void>): Promise<void> {
    try {
      await work()
    } catch (error) {
      if (!isDamage(error)) throw error
      this.#tell(backup, error.message)
    }
  }

  #tell(backup: string, message: string): void {
    this.result.damages++
    this.#options.report({ type: 'damage', backup, message })
  }
}

/** What is known by its name need not be in a manifest: the state of a merge, or of a run that was killed. */
function straysIn(keys: Iterable<string>, prefix: string, backup: BackupDocument): string[] {
  const known = [
    manifestNameOf(backup),
    BackupFile.backup,
    BackupFile.checkpoint,
    BackupFile.merge,
  ].map(name => `${prefix}${name}`)
  return [...keys].filter(key => !known.includes(key))
}
