/**
 * Copying to and from memory that threads share. There V8 copies byte by byte unless both places are
 * equally far from a multiple of eight, as two threads might otherwise tear a number in two:
 * twenty times as slow. `Buffer.fill`, given as many bytes as it has to fill, does not, but takes
 * longer to begin. (Node.js 20; in 26 `Buffer.copy` does not either.)
 */
const filledBytesMin = 1024

/** Copies source[start, end) to `at`; the two do not overlap, and no thread writes to either. */
export function copyShared(
  source: Uint8Array,
  start: number,
  end: number,
  target: Buffer,
  at: number,
): void {
  const bytes = source.subarray(start, end)
  if (bytes.length < filledBytesMin) target.set(bytes, at)
  else target.fill(bytes, at, at + bytes.length)
}
