import { RE2JS, RE2JSException } from 're2js'
import type { ArchiveRecord } from '../archive/record.ts'

/** Which documents are restored: those that fit all of what is given. */
export interface DocumentSelection {
  /** Keys that begin with one of these. */
  keyPrefixes?: readonly string[] | undefined
  /**
   * Keys in which this regular expression is found, in the syntax of RE2: its matching takes time in
   * proportion to the key, whatever the expression.
   */
  keyPattern?: string | undefined
}

/** No person writes a longer one. */
const patternLengthMax = 1_000

export class DocumentFilter {
  readonly #prefixes: readonly Buffer[] | undefined
  readonly #pattern: RE2JS | undefined

  constructor({ keyPrefixes, keyPattern }: DocumentSelection) {
    if (keyPrefixes && keyPrefixes.length > 0)
      this.#prefixes = keyPrefixes.map(prefix => Buffer.from(prefix))
    if (keyPattern !== undefined) this.#pattern = compile(keyPattern)
  }

  /** Whether it lets everything through. */
  get isOpen(): boolean {
    return this.#prefixes === undefined && this.#pattern === undefined
  }

  matches({ key }: ArchiveRecord): boolean {
    if (this.#prefixes && !this.#prefixes.some(prefix => beginsWith(key, prefix))) return false
    return this.#pattern === undefined || this.#pattern.test(key.toString())
  }
}

function beginsWith(key: Buffer, prefix: Buffer): boolean {
  return (
    key.length >= prefix.length && key.compare(prefix, 0, prefix.length, 0, prefix.length) === 0
  )
}

/** Fails with a RangeError for what is no expression. */
function compile(pattern: string): RE2JS {
  if (pattern.length > patternLengthMax)
    throw new RangeError(`a regular expression has at most ${patternLengthMax} characters`)
  try {
    return RE2JS.compile(pattern)
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error
    throw new RangeError(`the regular expression: ${error.message}`, { cause: error })
  }
}
