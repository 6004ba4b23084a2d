import type { FileHandle } from 'node:fs/promises'

/** All of a file, which is short mostly: then one call, where `readFile` of a handle takes three. */
export async function readAll(file: FileHandle): Promise<Buffer> {
  let bytes = Buffer.allocUnsafe(1024)
  let length = 0
  for (;;) {
    const { bytesRead } = await file.read(bytes, length, bytes.length - length, length)
    length += bytesRead
    if (length < bytes.length) return bytes.subarray(0, length)
    bytes = Buffer.concat([bytes], bytes.length * 2)
  }
}

/** More buffers than that the system does not take in one call. */
const buffersMax = 512

/** Writes the chunks one behind the other, from `offset` on. */
export async function writeAll(
  file: FileHandle,
  chunks: readonly Buffer[],
  offset: number,
): Promise<void> {
  let position = offset
  let rest = chunks.filter(chunk => chunk.length > 0)
  while (rest.length > 0) {
    const { bytesWritten } = await file.writev(rest.slice(0, buffersMax), position)
    position += bytesWritten
    rest = behind(rest, bytesWritten)
  }
}

/** What is left of the chunks after so many bytes of them. */
function behind(chunks: readonly Buffer[], bytes: number): Buffer[] {
  let left = bytes
  let index = 0
  while (index < chunks.length && left >= chunks[index]!.length) left -= chunks[index++]!.length
  const rest = chunks.slice(index)
  if (left > 0) rest[0] = rest[0]!.subarray(left)
  return rest
}
