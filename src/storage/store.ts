/**
 * A bucket's files: its description, its environments, what they hold of each vbucket, and
 * whether the last stop was clean. Opening checks everything that would otherwise fail later;
 * a store that opens can be served.
 *
 *   BUCKET/bucket.json            format, name, uuid, number of vbuckets and environments
 *   BUCKET/environment-N/data.mdb vbuckets with vbid modulo environments = N
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
  statSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import { OperatorError } from '../errors.ts'
import type { DurableHold, EnvironmentFigures } from './flusher-messages.ts'
import { openEnvironment, storageError, type Environment } from './environment.ts'
import type { PurgeHold } from './holds.ts'
import { decodeVbucketRecord, encodeVbucketRecord, type VbucketRecord } from './vbucket-record.ts'

export const storeFormat = 1

export interface BucketDescription {
  format: number
  name: string
  uuid: string
  vbuckets: number
  environments: number
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
  holds: PurgeHold[]
  /** The daemon that had it open last did not close it. */
  wasUnclean: boolean
}

/** Makes a bucket's directory and files. */
export function createStore(
  directory: string,
  description: Omit<BucketDescription, 'format'>,
): void {
  try {
    mkdirSync(directory, { recursive: true })
    writeDescription(directory, { format: storeFormat, ...description })
  } catch (error) {
    throw storageError(error, directory)
  }
}

/** Opens a bucket and marks it as in use: until `markClean`, the next open counts as unclean. */
export async function openStore(options: StoreOptions): Promise<OpenStore> {
  const description = readDescription(options.directory)
  const directories = Array.from({ length: description.environments }, (_, index) =>
    join(options.directory, `environment-${index}`),
  )
  const environments: Environment[] = []
  try {
    for (const directory of directories) {
      environments.push(openEnvironment({ ...options, directory }))
    }
    return { description, directories, environments, ...readAll(environments, description) }
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

export function figuresOf(environment: Environment): EnvironmentFigures {
  const { pageSize, allocated, live, written } = environment.pages()
  return {
    allocatedBytes: allocated * pageSize,
    liveBytes: live * pageSize,
    writtenBytes: written * pageSize,
  }
}

function readAll(environments: Environment[], description: BucketDescription) {
  const vbuckets = new Map<number, VbucketRecord>()
  const holds: PurgeHold[] = []
  let wasUnclean = false
  for (const [index, environment] of environments.entries()) {
    assertBelongs(environment, description, index)
    assertWhole(environment)
    for (const { key, value } of environment.vbuckets.getRange({})) {
      vbuckets.set(key, decodeVbucketRecord(value))
    }
    for (const { key, value } of environment.holds.getRange({ start: { vbid: 0, holder: '' } })) {
      const hold = JSON.parse(value.toString()) as DurableHold
      holds.push({ ...key, ...hold, durable: true })
    }
    if (environment.meta.getBinary('clean')?.toString() === 'no') wasUnclean = true
    environment.write(() => environment.meta.putSync('clean', Buffer.from('no')))
  }
  return { vbuckets, holds, wasUnclean }
}

/** Environments carry their bucket's uuid and their number: a mixed-up restore is noticed. */
function assertBelongs(
  environment: Environment,
  { uuid, environments }: BucketDescription,
  index: number,
): void {
  const expected = `${uuid} ${index}/${environments}`
  const found = environment.meta.getBinary('belongs')?.toString()
  if (found === undefined) {
    environment.write(() => environment.meta.putSync('belongs', Buffer.from(expected)))
  } else if (found !== expected) {
    throw new OperatorError(
      'store-mixed',
      `${environment.directory} belongs to ${found}, not to ${expected}`,
      'restore the data directory as a whole',
    )
  }
}

/** A data file that has lost its end would kill the process when its missing pages are read. */
function assertWhole(environment: Environment): void {
  const file = join(environment.directory, 'data.mdb')
  const { size } = statSync(file)
  const { allocated, pageSize } = environment.pages()
  if (size < allocated * pageSize) {
    throw new OperatorError(
      'store-damaged',
      `${file} has ${size} bytes, ${allocated * pageSize} are in use: its end is missing`,
      'restore the data directory from a backup',
    )
  }
}

function readDescription(directory: string): BucketDescription {
  const path = join(directory, 'bucket.json')
  let description: BucketDescription
  try {
    description = JSON.parse(readFileSync(path, 'utf8')) as BucketDescription
  } catch (cause) {
    throw new OperatorError(
      'store-damaged',
      `${path} cannot be read: ${(cause as Error).message}`,
      'restore the data directory from a backup',
      { cause },
    )
  }
  if (description.format > storeFormat) {
    throw new OperatorError(
      'format-newer',
      `${path} has format ${description.format}, this version knows ${storeFormat}`,
      'start the version of holdfastd that wrote it, or a newer one',
    )
  }
  return description
}

/** Written beside, synced, renamed: there is always one whole description. */
function writeDescription(directory: string, description: BucketDescription): void {
  const path = join(directory, 'bucket.json')
  const file = openSync(`${path}.new`, 'w', 0o644)
  writeSync(file, `${JSON.stringify(description, undefined, 2)}\n`)
  fsyncSync(file)
  closeSync(file)
  renameSync(`${path}.new`, path)
  const parent = openSync(directory, 'r')
  fsyncSync(parent)
  closeSync(parent)
}
