import { systemRandom, type Random } from '../random.ts'
import type { DataObject } from './archive/documents.ts'
import type { Secret } from './archive/repository-key.ts'
import { keyOfObject, readBlocks } from './data-object.ts'
import { BackupError, damaged } from './errors.ts'
import { forEachOf } from './lanes.ts'
import { Repository } from './repository.ts'
import type { ObjectStore } from './store/object-store.ts'

export interface VerifyOptions {
  store: ObjectStore
  repository: string
  /** All complete ones by default. */
  backup?: string | undefined
  secret?: Secret | undefined
  /** How many of the objects are read, 0 to 100; of the others only the size is looked at. */
  samplePercent: number
  threads?: number
  signal: AbortSignal
  report: (event: VerifyEvent) => void
  random?: Random
}

/** Something that is not as it should be. */
export interface VerifyEvent {
  readonly type: 'damage'
  readonly backup: string
  readonly message: string
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

const defaultThreads = 2

/**
 * Looks whether backups are what they say: manifests, the chain that an incremental one continues,
 * every object's size; and of those that are read, every checksum, seqno and count.
 */
export async function verify(options: VerifyOptions): Promise<VerifyResult> {
  const repository = await Repository.open(options.store, options.repository)
  const key = await repository.openKey(options.secret)
  const result: VerifyResult = {
    backups: 0,
    objects: 0,
    objectsRead: 0,
    records: 0,
    bytesRead: 0,
    damages: 0,
  }
  for (const backup of await repository.chosen(options.backup)) {
    result.backups++
    const told = (work: () => Promise<void>) => tellDamage(options, result, backup.id, work)
    await told(async () => {
      await repository.chainTo(backup)
      const { objects } = await repository.manifest(backup, key)
      await forEachOf(objects, options.threads ?? defaultThreads, object =>
        told(() => verifyObject(options, { repository, backupId: backup.id, key }, object, result)),
      )
    })
  }
  return result
}

async function verifyObject(
  { samplePercent, signal, random = systemRandom }: VerifyOptions,
  backup: Parameters<typeof readBlocks>[0],
  object: DataObject,
  result: VerifyResult,
): Promise<void> {
  signal.throwIfAborted()
  result.objects++
  const key = keyOfObject(backup, object)
  const size = await backup.repository.store.size(key)
  if (size === undefined) throw damaged(`${key} is missing`)
  if (size !== object.size) throw damaged(`${key} has ${size} bytes, not ${object.size}`)
  if (random.fraction() * 100 >= samplePercent) return
  for await (const records of readBlocks(backup, object)) {
    signal.throwIfAborted()
    result.records += records.length
  }
  result.objectsRead++
  result.bytesRead += size
}

/** What is damaged is told, and the rest is looked at nevertheless. */
async function tellDamage(
  { report }: VerifyOptions,
  result: VerifyResult,
  backup: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    if (!(error instanceof BackupError) || (error.code !== 'damaged' && error.code !== 'format'))
      throw error
    result.damages++
    report({ type: 'damage', backup, message: error.message })
  }
}
