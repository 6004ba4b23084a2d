import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from 'node:fs'
import { dirname } from 'node:path'
import type { DcpState } from '../client/index.ts'
import { CommandError, ExitCode } from './exit-code.ts'

/** What a resume file holds: the state, and the name that the server knows the client by. */
export interface Resumption {
  readonly name: string
  /** Checked by the client that it is given to. */
  readonly state: unknown
}

const format = 'holdfast-stream-resume'

/** What `path` holds, or `undefined` if there is no such file yet. */
export function readResumeFile(path: string): Resumption | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return undefined
    throw unusable(path, (cause as Error).message, cause)
  }
  let content: Record<string, unknown>
  try {
    content = JSON.parse(text) as Record<string, unknown>
  } catch (cause) {
    throw unusable(path, 'it is no JSON', cause)
  }
  if (content?.['format'] !== format || content['version'] !== 1)
    throw unusable(path, `it is no ${format} of version 1`)
  const { name, state } = content
  if (typeof name !== 'string') throw unusable(path, 'it has no name')
  return { name, state }
}

/**
 * Replaces the file in one step, durably: written aside, synced, renamed, and the folder synced, so
 * that after a crash there is the old one or the new one and never half of one. Synchronous, so
 * that nothing is consumed between the state and the moment it is safe.
 */
export function writeResumeFile(path: string, name: string, state: DcpState): void {
  const aside = `${path}.tmp`
  try {
    const file = openSync(aside, 'w', 0o600)
    try {
      writeSync(file, `${JSON.stringify({ format, version: 1, name, state })}\n`)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    renameSync(aside, path)
    const folder = openSync(dirname(path), 'r')
    try {
      fsyncSync(folder)
    } finally {
      closeSync(folder)
    }
  } catch (cause) {
    throw unusable(path, (cause as Error).message, cause)
  }
}

function unusable(path: string, why: string, cause?: unknown): CommandError {
  return new CommandError(ExitCode.resumeFile, `resume file ${path}: ${why}`, { cause })
}
