/** What can be asked about a path of a document that is known to be JSON. */
import { Status } from '../../../protocol/status.ts'
import { eachElement, isContainer, JsonSearch, type Outcome } from './json-search.ts'
import { parsePath } from './path.ts'

/** The answer: bytes of the document, or made for the occasion; or why there is none. */
export type Lookup = (text: Buffer, path: Buffer) => Buffer | Status

/** The statuses of searches that did not find what they looked for. */
export const outcomeStatus = {
  missing: Status.subdocPathNotFound,
  mismatch: Status.subdocPathMismatch,
  tooDeep: Status.subdocDocumentTooDeep,
} as const satisfies Record<Exclude<Outcome, 'found'>, Status>

const search = new JsonSearch()
const nothing = Buffer.alloc(0)

export const getPath: Lookup = (text, pathText) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  const outcome = search.find(text, path)
  return outcome === 'found' ? text.subarray(search.start, search.end) : outcomeStatus[outcome]
}

export const pathExists: Lookup = (text, pathText) => {
  const value = getPath(text, pathText)
  return typeof value === 'number' ? value : nothing
}

/** The number of elements or members, in decimal. */
export const countAtPath: Lookup = (text, pathText) => {
  const path = parsePath(pathText)
  if (typeof path === 'number') return path
  const outcome = search.find(text, path)
  if (outcome !== 'found') return outcomeStatus[outcome]
  if (!isContainer(text[search.start])) return Status.subdocPathMismatch
  let count = 0
  eachElement(text, search.start, () => ++count > 0)
  return Buffer.from(String(count))
}
