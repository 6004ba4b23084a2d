/** Damages an LMDB file so that LMDB finds it out only when it reads the pages that were meant. */
import { readFileSync, writeFileSync } from 'node:fs'

const pageBytes = 4096

/** Values on pages that have `text` in them are said to be where there is nothing. Returns how many pages. */
export function damageLeaves(file: string, text: string): number {
  const bytes = readFileSync(file)
  let damaged = 0
  for (let page = 0; page < bytes.length; page += pageBytes) {
    const leaf = bytes.subarray(page, page + pageBytes)
    if (!isLeaf(leaf) || !leaf.includes(text)) continue
    pointNowhere(leaf)
    damaged++
  }
  writeFileSync(file, bytes, { flag: 'r+' })
  return damaged
}

/** LMDB's page: its number u64, a transaction u64, u16, flags u16, where free space begins and ends u16. */
function isLeaf(page: Buffer): boolean {
  return page.readUInt16LE(18) === 2
}

/** All values of a leaf are said to be on a page that does not exist. */
function pointNowhere(page: Buffer): void {
  const headerBytes = 24
  const nodes = page.readUInt16LE(20) / 2
  for (let index = 0; index < nodes; index++) {
    const node = headerBytes + page.readUInt16LE(headerBytes + 2 * index)
    page.writeUInt16LE(1, node + 4)
    const keyBytes = page.readUInt16LE(node + 6)
    page.writeBigUInt64LE(2n ** 40n, node + 8 + keyBytes)
  }
}
