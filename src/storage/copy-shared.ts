/**
 * Copying to and from memory that threads share: the change log, the documents in memory, the slabs
 * of backfills. There V8 copies byte by byte unless both places are equally far from a multiple of
 * eight, as two threads might otherwise tear a number in two: twenty times as slow. `Buffer.fill`,
 * given as many bytes as it has to fill, does not, but takes longer to begin. (Node.js 20; in 26
 * `Buffer.copy` does not either.)
 */

/** Up to here a loop is quicker than any call. */
const loopedBytesMax = 40
const filledBytesMin = 1024

/** Copies source[start, end) to `at`; the two do not overlap, and no thread writes to either. */
export function copyShared(
  source: Buffer,
  start: number,
  end: number,
  target: Buffer,
  at: number,
): void {
  const length = end - start
  if (length <= loopedBytesMax) {
    for (let index = 0; index < length; index++) target[at + index] = source[start + index]!
  } else if (length < filledBytesMin) source.copy(target, at, start, end)
  else setShared(source.subarray(start, end), target, at)
}

/** The same for all of `bytes`, of which there is a view already. */
export function setShared(bytes: Uint8Array, target: Buffer, at: number): void {
  if (bytes.length < filledBytesMin) target.set(bytes, at)
  else target.fill(bytes, at, at + bytes.length)
}
