/**
 * Segments by their numbers, which grow without end while few of them live at a time: an array in
 * which a number has the place of its lowest bits. It is looked at several times for every document
 * that is read, where a `Map` shows in profiles.
 */
interface Numbered {
  readonly number: number
}

export class SegmentRing<Segment extends Numbered> {
  #places: (Segment | undefined)[] = Array.from({ length: 16 })

  /** The segment must be there. */
  at(number: number): Segment {
    return this.#places[number & (this.#places.length - 1)]!
  }

  add(segment: Segment): void {
    const place = segment.number & (this.#places.length - 1)
    if (this.#places[place] === undefined) this.#places[place] = segment
    else {
      this.#grow()
      this.add(segment)
    }
  }

  remove({ number }: Segment): void {
    this.#places[number & (this.#places.length - 1)] = undefined
  }

  #grow(): void {
    const old = this.#places
    this.#places = Array.from({ length: old.length * 2 })
    // Numbers that had places of their own have them in a table of twice the size, too.
    for (const segment of old) if (segment !== undefined) this.add(segment)
  }
}
