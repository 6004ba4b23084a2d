/** What a run has done and found, for the run that comes after it. */
import { existsSync, readFileSync } from 'node:fs'
import type { ModelManifest } from './manifest.ts'
import type { Change } from './model.ts'

/** Numbers are first a vbid; of `clock` milliseconds. */
export type Entry =
  | ['change', number, Change]
  | ['persisted', number, number]
  | ['purge', number, number]
  | ['empty', number]
  | ['cut', number, number]
  | ['clock', number]
  /** The manifest, and what it is about to become. */
  | ['manifest', ModelManifest]
  | ['wanted manifest', ModelManifest]

export function readJournal(journalPath: string): Entry[] {
  if (!existsSync(journalPath)) return []
  const lines = readFileSync(journalPath, 'utf8').split('\n').filter(Boolean)
  return lines.map(line => JSON.parse(line) as Entry)
}
