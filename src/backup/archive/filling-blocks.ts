/** Where a block of records is filled: the bytes of `memory` from `start` to `end`. */
export interface FillingPlace {
  readonly memory: Buffer
  readonly start: number
  readonly end: number
}

/** Of one read of the socket. */
const readBytes = 256 * 1024

/**
 * One piece of memory that the stream is read into, and in which blocks of records are filled from it.
 * Within one piece bytes are moved without an object for each move (`copyWithin`): for a document of 256 B that
 * takes a third of the time, and leaves nothing to the garbage collector.
 */
export class FillingBlocks {
  readonly readInto: Buffer
  readonly #places: FillingPlace[] = []

  /** For so many who fill at a time. */
  constructor(blockBytes: number, count: number) {
    const memory = Buffer.allocUnsafeSlow(readBytes + count * blockBytes)
    this.readInto = memory.subarray(0, readBytes)
    for (let start = readBytes; start < memory.length; start += blockBytes)
      this.#places.push({ memory, start, end: start + blockBytes })
  }

  /** With whatever was in it before; nothing, if all are being filled. */
  take(): FillingPlace | undefined {
    return this.#places.pop()
  }

  give(place: FillingPlace): void {
    this.#places.push(place)
  }
}
