/**
 * A bucket's files: its description, its environments, what they hold of each vbucket, and
 * whether the last stop was clean. Opening checks everything that would otherwise fail later;
 * a store that opens can be served.
 *
 *   BUCKET/bucket.json            format, name, uuid, number of vbuckets and environments
 *   BUCKET/collections.json       its manifest of collections: see manifest-file.ts
 *   BUCKET/environment-N/data.mdb vbuckets with vbid modulo environments = N
 *   BUCKET/journal-N              changes that LMDB may not have yet: see journal.ts
 *
 * The format number grows with every change of layout that an older version would misread.
 */
import {
  closeSync,
  fsyncSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  writeSync,
} from 'node:fs'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { OperatorError } from '../errors.ts'
import {
  decodeCollectionRecord,
  type CollectionKey,
  type StoredCollection,
} from './collection-record.ts'
import type { DurableHold } from './flusher-messages.ts'
import { compact, forgetCopies, isMostlyFree, type Compaction } from './compaction.ts'
import { dataFileOf, inspectDataFile, resizeDataFile } from './data-file.ts'
import { figuresOf, openEnvironment, type Environment } from './environment.ts'
import type { PurgeHold } from './holds.ts'
import { writeManifest } from './manifest-file.ts'
import { replayJournal } from './journal-replay.ts'
import { storageError, storeDamaged } from './storage-error.ts'
import { syncDirectory } from './sync-directory.ts'
import { decodeVbucketRecord, encodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'

export const storeFormat = 6

export interface BucketDescription {
  format: number
  name: string
  uuid: string
  vbuckets: number
  environments: number
  /** The most that the documents' keys and values may take together; 0: there is no limit. */
  quotaBytes: number
  /** Whether it may be emptied with one request. */
  flushEnabled: boolean
}

export interface StoreOptions {
  directory: string
  mapSizeBytes: number
  readerSlotsMax: number
}

export interface OpenStore {
  description: BucketDescription
  environments: Environment[]
  directories: string[]
  vbuckets: Map<number, VbucketRecord>
  /** By vbid. */
  collections: Map<number, StoredCollection[]>
  holds: PurgeHold[]
  /** The daemon that had it open last did not close it. */
  wasUnclean: boolean
  /** Changes that were in the journal only. */
  replayed: number
  /** Files that were found to be mostly free. */
  compactions: Compaction[]
}

/** Makes a bucket's directory and files, with the vbuckets that it begins with. */
export async function createStore(
  options: StoreOptions,
  description: Omit<BucketDescription, 'format'>,
  vbuckets: ReadonlyMap<number, VbucketRecord>,
  manifest: object,
): Promise<void> {
  const { directory } = options
  const environments: Environment[] = []
  try {
    mkdirSync(directory, { recursive: true })
    writeDescription(directory, { format: storeFormat, ...description })
    for (const path of environmentDirectories(directory, description.environments)) {
      environments.push(openEnvironment({ ...options, directory: path, create: true }))
      syncDirectory(path)
    }
    syncDirectory(directory)
    for (const [index, environment] of environments.entries()) {
      const belongs = belonging(description, index)
      environment.write(() => environment.meta.putSync('belongs', Buffer.from(belongs)))
    }
    writeVbuckets(environments, vbuckets)
    await writeManifest(directory, manifest)
    markClean(environments)
  } catch (error) {
    throw storageError(error, directory)
  } finally {
    await closeStore({ environments })
  }
}

/** Opens a bucket and marks it as in use: until `markClean`, the next open counts as unclean. */
export async function openStore(
  options: StoreOptions & { nowSeconds: number; compactBytesMax: number },
): Promise<OpenStore> {
  const description = readDescription(options.directory)
  const directories = environmentDirectories(options.directory, description.environments)
  const environments: Environment[] = []
  const compactions: Compaction[] = []
  try {
    for (const directory of directories) {
      await forgetCopies(directory)
      const place = { ...options, directory }
      environments.push(await openWhole(place))
      const figures = figuresOf(environments.at(-1)!)
      if (!isMostlyFree(figures, options.compactBytesMax)) continue
      await environments.pop()!.close()
      compactions.push({ directory, ...figures, failure: await compact(directory, options) })
      environments.push(await openWhole(place))
    }
    for (const [index, environment] of environments.entries()) {
      assertBelongs(environment, belonging(description, index))
    }
    const replayed = replayJournal(options.directory, environments, options.nowSeconds)
    const contents = readAll(environments)
    return { description, directories, environments, ...contents, replayed, compactions }
  } catch (error) {
    await closeStore({ environments })
    throw storageError(error, options.directory)
  }
}

export async function closeStore({ environments }: Pick<OpenStore, 'environments'>): Promise<void> {
  for (const environment of environments) await environment.close()
}

/** Stores vbuckets before the flusher exists: at creation, and new histories at a start. */
export function writeVbuckets(
  environments: Environment[],
  vbuckets: ReadonlyMap<number, VbucketRecord>,
): void {
  for (const [index, environment] of environments.entries()) {
    environment.write(() => {
      for (const [vbid, record] of vbuckets) {
        if (vbid % environments.length !== index) continue
        environment.vbuckets.putSync(vbid, encodeVbucketRecord(record))
      }
    })
  }
}

/** The last write of a clean stop, once the flusher has ended. */
export function markClean(environments: Environment[]): void {
  for (const environment of environments) {
    environment.write(() => environment.meta.putSync('clean', Buffer.from('yes')))
  }
}

function environmentDirectories(directory: string, count: number): string[] {
  return Array.from({ length: count }, (_, index) => join(directory, `environment-${index}`))
}

/**
 * Opens an environment whose file is not damaged as far as can be told without reading all of it.
 * One that is shorter than its header says may have lost its end, or may only lack free pages: it
 * is filled up, so that a missing page reads as damaged instead of ending the process, and read.
 */
async function openWhole(options: StoreOptions): Promise<Environment> {
  const { directory } = options
  const file = inspectDataFile(directory)
  if (file === undefined) throw storeDamaged(`${dataFileOf(directory)} is missing or empty`)
  const { sizeBytes, usedBytes } = file
  if (sizeBytes >= usedBytes) return openEnvironment(options)
  resizeDataFile(directory, usedBytes)
  const problem = await problemOf(options)
  if (problem === '') return openEnvironment(options)
  // As it was found: it may yet be evidence.
  resizeDataFile(directory, sizeBytes)
  const what = `has ${sizeBytes} bytes, ${usedBytes} are in use: its end is missing (${problem})`
  throw storeDamaged(`${dataFileOf(directory)} ${what}`)
}

const checker = join(import.meta.dirname, 'check-process.js')

/** What is wrong with an environment; empty when nothing is. */
async function problemOf({ directory, mapSizeBytes }: StoreOptions): Promise<string> {
  const parameters = [checker, directory, String(mapSizeBytes)]
  try {
    const { stdout } = await promisify(execFile)(process.execPath, parameters)
    return stdout
  } catch {
    return 'LMDB cannot read it'
  }
}

function readAll(environments: Environment[]) {
  const vbuckets = new Map<number, VbucketRecord>()
  const collections = new Map<number, StoredCollection[]>()
  const holds: PurgeHold[] = []
  let wasUnclean = false
  for (const environment of environments) {
    for (const { key, value } of environment.vbuckets.getRange({})) {
      vbuckets.set(
        key,
        parse(environment, () => decodeVbucketRecord(value)),
      )
    }
    for (const { key, value } of environment.collections.getRange({ start: firstCollection })) {
      const { vbid, ...named } = key
      const record = parse(environment, () => decodeCollectionRecord(value))
      const own = collections.get(vbid) ?? []
      own.push({ ...named, ...record })
      collections.set(vbid, own)
    }
    for (const { key, value } of environment.holds.getRange({ start: { vbid: 0, holder: '' } })) {
      const hold = parse(environment, () => JSON.parse(value.toString()) as DurableHold)
      holds.push({ ...key, ...hold, durable: true })
    }
    if (environment.meta.getBinary('clean')?.toString() !== 'yes') wasUnclean = true
    environment.write(() => environment.meta.putSync('clean', Buffer.from('no')))
  }
  return { vbuckets, collections, holds, wasUnclean }
}

const firstCollection: CollectionKey = { vbid: 0, subject: 'collection', id: 0 }

function parse<Value>(environment: Environment, read: () => Value): Value {
  try {
    return read()
  } catch (cause) {
    throw storeDamaged(`${environment.directory}: what is stored of a vbucket is unreadable`, cause)
  }
}

/** Environments carry their bucket's uuid and their number: a mixed-up restore is noticed. */
function belonging(
  { uuid, environments }: Omit<BucketDescription, 'format'>,
  index: number,
): string {
  return `${uuid} ${index}/${environments}`
}

function assertBelongs(environment: Environment, expected: string): void {
  const found = environment.meta.getBinary('belongs')?.toString()
  if (found === expected) return
  throw new OperatorError(
    'store-mixed',
    `${environment.directory} belongs to ${found ?? 'nothing'}, not to ${expected}`,
    'restore the data directory as a whole',
  )
}

function readDescription(directory: string): BucketDescription {
  const path = join(directory, 'bucket.json')
  let description: BucketDescription
  try {
    description = Object(JSON.parse(readFileSync(path, 'utf8'))) as BucketDescription
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException
    if (code !== undefined && code !== 'ENOENT') throw storageError(cause, directory)
    throw storeDamaged(`${path} cannot be read: ${message}`, cause)
  }
  if (description.format < storeFormat) {
    throw new OperatorError(
      'format-older',
      `${path} has format ${description.format}, this version knows ${storeFormat} only`,
      'start the version of holdfastd that wrote it, and stream its documents into a new data folder',
    )
  }
  if (description.format > storeFormat) {
    throw new OperatorError(
      'format-newer',
      `${path} has format ${description.format}, this version knows ${storeFormat}`,
      'start the version of holdfastd that wrote it, or a newer one',
    )
  }
  const { name, uuid, vbuckets, environments, quotaBytes, flushEnabled } = description
  const isNamed = typeof name === 'string' && typeof uuid === 'string'
  const isShaped = Number.isSafeInteger(quotaBytes) && typeof flushEnabled === 'boolean'
  if (!isNamed || !isShaped || !isCount(vbuckets) || !isCount(environments)) {
    throw storeDamaged(`${path} does not describe a bucket`)
  }
  return description
}

function isCount(value: unknown): boolean {
  return Number.isInteger(value) && (value as number) > 0
}

/** Written beside, synced, renamed: there is always one whole description. */
export function writeDescription(directory: string, description: BucketDescription): void {
  const path = join(directory, 'bucket.json')
  const file = openSync(`${path}.new`, 'w', 0o644)
  writeSync(file, `${JSON.stringify(description, undefined, 2)}\n`)
  fsyncSync(file)
  closeSync(file)
  renameSync(`${path}.new`, path)
  syncDirectory(directory)
}
