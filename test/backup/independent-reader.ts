import { execFile } from 'node:child_process'
import { resolve } from 'node:path'
import { promisify } from 'node:util'

const script = resolve(import.meta.dirname, '../../../test/backup/independent-reader.js')

/** As the reader prints it. */
export interface ReadDocument {
  vbid: number
  kind: number
  seqno: number
  cas: string
  revno: number
  flags: number
  time: number
  datatype: number
  collection: number
  /** Its bytes as latin1. */
  key: string
  /** Base64. */
  value: string
}

/** The documents of a backup, by a program that knows the format from its description alone. */
export async function readIndependently(
  archive: string,
  repository: string,
  options: { backup?: string; env?: Record<string, string> } = {},
): Promise<ReadDocument[]> {
  const { backup, env } = options
  const words = [script, archive, repository, ...(backup === undefined ? [] : [backup])]
  const { stdout } = await promisify(execFile)(process.execPath, words, {
    env: { ...process.env, ...env },
    maxBuffer: 2 ** 28,
  })
  return stdout
    .split('\n')
    .filter(Boolean)
    .map(line => JSON.parse(line) as ReadDocument)
}
