import { scanList } from '../../vbucket/json-text.ts'

/** A value that a client brings for a place in a document: JSON values with commas between them. */
export interface Fragment {
  readonly bytes: Buffer
  /** 0: it is no JSON. */
  readonly count: number
  /** Levels of values that it has. */
  readonly levels: number
  readonly hasContainers: boolean
}

export function readFragment(bytes: Buffer): Fragment {
  const { count, levels, hasContainers } = scanList(bytes) ?? notJson
  return { bytes, count, levels, hasContainers }
}

const notJson = { count: 0, levels: 0, hasContainers: false }

/** One value that needs no check, as it was made here. */
export function knownFragment(bytes: Buffer, levels = 1): Fragment {
  return { bytes, count: 1, levels, hasContainers: levels > 1 }
}
