import type { Part } from './object-store.ts'

/** The parts that the log of an upload tells of, see `FileUploads`, and the length of its whole lines. */
export function readUploadLog(bytes: Buffer): { parts: Part[]; length: number } {
  // What is behind the last line end was being written when a crash came.
  const length = bytes.lastIndexOf('\n') + 1
  const parts: Part[] = []
  for (const line of bytes.toString('latin1', 0, length).split('\n').slice(0, -1)) {
    const [number, size, etag] = line.split(' ')
    parts.length = Number(number) - 1
    if (etag !== undefined) parts.push({ number: Number(number), size: Number(size), etag })
  }
  return { parts, length }
}
