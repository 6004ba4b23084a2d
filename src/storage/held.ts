/** What documents take that live, of a collection or of several. */
export interface Held {
  items: number
  /** Of their keys, with the id of the collection, and their values as they are stored. */
  bytes: number
}

export const nothingHeld: Readonly<Held> = { items: 0, bytes: 0 }

export function sumOfHeld(all: Iterable<Readonly<Held>>): Held {
  const sum = { ...nothingHeld }
  for (const { items, bytes } of all) {
    sum.items += items
    sum.bytes += bytes
  }
  return sum
}
