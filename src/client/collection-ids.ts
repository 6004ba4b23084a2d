import { Status } from '../../protocol/status.ts'
import { ServerError } from './errors.ts'
import { defaultCollection, parseCollectionPath, pathText } from './collection-path.ts'

/** As many as a bucket may have: what is more must be of collections that are gone. */
const idsMax = 1200

/**
 * The ids of collections by their names, as the server told when it was first asked. An id is
 * asked for anew when the server does not know it any more: the collection may have been dropped
 * and made again, or there is none.
 */
export class CollectionIds {
  readonly #lookUp: (path: string) => Promise<number>
  readonly #ids = new Map<string, Promise<number>>()

  /** `lookUp` gets `scope.collection`, and rejects with the server's refusal. */
  constructor(lookUp: (path: string) => Promise<number>) {
    this.#lookUp = lookUp
  }

  /**
   * Does `work` with the id of a collection; once more if it was refused and the name stands for
   * another id by now. What is asked of one collection is asked in its order.
   */
  within<T>(collection: string | number | undefined, work: (id: number) => Promise<T>): Promise<T> {
    if (typeof collection === 'string') return this.#withinNamed(collection, work)
    return work(collection ?? defaultCollection)
  }

  async #withinNamed<T>(name: string, work: (id: number) => Promise<T>): Promise<T> {
    const path = pathText(parseCollectionPath(name))
    const asked = this.#idOf(path)
    // Awaited even if it is known, or this could overtake one that still waits.
    const id = await asked
    try {
      return await work(id)
    } catch (error) {
      if (!isUnknown(error)) throw error
      if (this.#ids.get(path) === asked) this.#ids.delete(path)
      const newId = await this.#idOf(path)
      if (newId === id) throw error
      return work(newId)
    }
  }

  #idOf(path: string): Promise<number> {
    const known = this.#ids.get(path)
    if (known !== undefined) return known
    if (this.#ids.size >= idsMax) this.#ids.clear()
    const asked = this.#lookUp(path)
    this.#ids.set(path, asked)
    asked.catch(() => {
      if (this.#ids.get(path) === asked) this.#ids.delete(path)
    })
    return asked
  }
}

function isUnknown(error: unknown): boolean {
  return error instanceof ServerError && error.status === Status.unknownCollection
}
