/** Reads all of an index by key and says whether its blocks fit together. See check.ts. */
import { entryHashAt, entryKeyStart, entryLengthAt } from './document-entry.ts'
import type { Environment } from './environment.ts'
import { blockEndOf, blockNameOf, depthMax, entriesIn, searchStartIn } from './index-block.ts'
import { hashKey } from './key-hash.ts'

/** Tells what is wrong; returns one object for each entry. */
export function checkIndex(
  { index }: Environment,
  problem: (vbid: number, text: string) => void,
): { vbid: number }[] {
  const found: { vbid: number }[] = []
  const allHashes = 2 ** depthMax
  let last = { vbid: -1, end: allHashes }
  const checkEnd = () => {
    if (last.end !== allHashes) problem(last.vbid, `its index ends at hash ${last.end}`)
  }
  for (const { key, value } of index.getRange({ start: { vbid: 0, name: 0 } })) {
    const { vbid, name } = key
    if (vbid !== last.vbid) {
      checkEnd()
      last = { vbid, end: 0 }
    }
    const depth = value[0]!
    if (depth > depthMax || name !== last.end || blockNameOf(name, depth) !== name) {
      problem(vbid, `index block ${name} of depth ${depth} does not follow the one before`)
    }
    last.end = blockEndOf(name, depth)
    try {
      for (const at of entriesIn(value, value.length)) {
        found.push({ vbid })
        if (searchStartIn(value, value.length, entryHashAt(value, at)) > at) {
          problem(vbid, `an entry of index block ${name} is not found`)
        }
        checkEntry(vbid, name, value, at, problem)
      }
    } catch (error) {
      problem(vbid, `index block ${name}: ${String(error)}`)
    }
  }
  checkEnd()
  return found
}

function checkEntry(
  vbid: number,
  name: number,
  block: Buffer,
  at: number,
  problem: (vbid: number, text: string) => void,
): void {
  const hash = entryHashAt(block, at)
  const keyStart = entryKeyStart(block, at)
  const keyLength = at + entryLengthAt(block, at) - keyStart
  if (hash !== hashKey(vbid, block, keyStart, keyLength)) {
    problem(vbid, `an entry of index block ${name} is not of its key`)
  } else if (blockNameOf(hash, block[0]!) !== name) {
    problem(vbid, `an entry of index block ${name} belongs into another`)
  }
}
