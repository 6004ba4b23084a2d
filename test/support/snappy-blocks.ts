/** Snappy blocks put together by hand, as its format description has them. */

/** A block that says that it stands for `length` bytes, which may be a lie. */
export function blockOf(length: number, ...elements: Uint8Array[]): Buffer {
  const prefix = []
  let rest = length
  for (; rest > 0x7f; rest = Math.floor(rest / 128)) prefix.push((rest % 128) | 0x80)
  return Buffer.concat([Buffer.of(...prefix, rest), ...elements])
}

/** Bytes that stand for themselves, up to 60. */
export function literal(text: string): Buffer {
  return Buffer.concat([Buffer.of((text.length - 1) << 2), Buffer.from(text)])
}

/** `length` bytes, up to 64, of what was `offset` before. */
export function copyOf(offset: number, length: number): Buffer {
  return Buffer.of(((length - 1) << 2) | 2, offset & 0xff, offset >> 8)
}

/** One letter, `count` times. */
export function repeated(letter: string, count: number): Buffer {
  const copies = []
  for (let rest = count - 1; rest > 0; rest -= 64) copies.push(copyOf(1, Math.min(rest, 64)))
  return blockOf(count, literal(letter), ...copies)
}
