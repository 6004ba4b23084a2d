/** A store with one file, whose documents are large for a while: what both kinds of compaction are tried on. */
import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { silentLog, type Log } from '../../src/log.ts'
import { dataFileOf } from '../../src/storage/data-file.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { committed, read, set } from '../support/bucket.ts'

export const environmentIn = (directory: string) =>
  join(directory, 'buckets', 'default', 'environment-0')
export const fileIn = (directory: string) => dataFileOf(environmentIn(directory))
export const sizeIn = (directory: string) => statSync(fileIn(directory)).size
/** Folders of copies. */
export const copiesIn = (directory: string) =>
  readdirSync(environmentIn(directory)).filter(name => name.startsWith('compacted-'))

export const documents = 32
export const large = 'x'.repeat(2 ** 20)

/** Writes all documents, each value with its number in front. */
export async function write(bucket: Bucket, value: string): Promise<void> {
  for (let index = 0; index < documents; index++) {
    set(bucket, bucket.vbucket(index % 16)!, `document-${index}`, `${index} ${value}`)
  }
  await committed(bucket)
}

export function assertRead(t: Test, bucket: Bucket, value: string): void {
  for (let index = 0; index < documents; index++) {
    const vbucket = bucket.vbucket(index % 16)!
    if (read(bucket, vbucket, `document-${index}`) !== `${index} ${value}`) t.fail(`${index}`)
  }
}

/** A log that keeps what it is told about files. */
export function fileLog(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const note = (_: object, message: string) => {
    if (message.includes('mostly free')) lines.push(message)
  }
  const log: Log = { ...silentLog, info: note, warn: note, child: () => log }
  return { log, lines }
}
