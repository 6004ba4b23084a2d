import { closeSync, openSync, statSync } from 'node:fs'
import koffi from 'koffi'

const library = koffi.load(null)
const mmap = library.func('mmap', 'void *', ['void *', 'size_t', 'int', 'int', 'int', 'int64_t'])
const munmap = library.func('munmap', 'int', ['void *', 'size_t'])
const mincore = library.func('mincore', 'int', ['void *', 'size_t', 'uint8_t *'])
const [readable, shared] = [1, 1]
const pageBytes = 4096

/** How much of a file the page cache has: what mincore(2) tells. */
export function cachedBytes(path: string): number {
  const { size } = statSync(path)
  const file = openSync(path, 'r')
  try {
    const map = mmap(null, size, readable, shared, file, 0) as unknown
    const pages = Buffer.alloc(Math.ceil(size / pageBytes))
    const failed = mincore(map, size, pages) as number
    munmap(map, size)
    if (failed !== 0) throw new Error(`mincore of ${path} failed`)
    return pages.filter(page => (page & 1) === 1).length * pageBytes
  } finally {
    closeSync(file)
  }
}
