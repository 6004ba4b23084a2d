/** What Linux is told of files and Node.js has no call for: `posix_fadvise`, by a library. */
type Advise = (descriptor: number, offset: number, length: number, advice: number) => number

/** As Linux numbers it (posix_fadvise(2)). */
const dontNeed = 4
/** To ask for less costs more than it brings. */
const bytesMin = 1024 * 1024

let loading: Promise<Advise | undefined> | undefined

/**
 * These bytes of a file, which are on disk, are not going to be read soon: they leave the page cache.
 * A large backup would otherwise push out of memory what others have there, a daemon on the same machine its
 * documents; and pages that have just become free are the quickest to be had for what is written next.
 */
export async function dropFromMemory(
  descriptor: number,
  offset: number,
  length: number,
): Promise<void> {
  if (length < bytesMin || process.platform !== 'linux') return
  loading ??= load()
  const advise = await loading
  advise?.(descriptor, offset, length, dontNeed)
}

/** Nothing where the library cannot be loaded: advice is no more than that. */
async function load(): Promise<Advise | undefined> {
  try {
    const { default: koffi } = await import('koffi')
    const words = ['int', 'int64_t', 'int64_t', 'int']
    return koffi.load(null).func('posix_fadvise', 'int', words) as Advise
  } catch {
    return undefined
  }
}
