import type { ObjectStore } from '../../src/backup/store/object-store.ts'

const changing = [
  'put',
  'putIfAbsent',
  'remove',
  'createUpload',
  'putPart',
  'copyPart',
  'completeUpload',
  'abortUpload',
] as const

export interface FailingStore extends ObjectStore {
  /** Changes that were made. */
  readonly changes: number
}

/**
 * Another store as it is for a process that ends: so many changes are made, and then every one fails.
 * With `lost`, the first of those is made, too, but nobody hears of it.
 */
export function failingStore(store: ObjectStore, changesMax: number, lost = false): FailingStore {
  let changes = 0
  const change = (name: (typeof changing)[number]) =>
    async function (...words: unknown[]): Promise<unknown> {
      const work = store[name].bind(store) as (...words: unknown[]) => Promise<unknown>
      if (++changes <= changesMax) return await work(...words)
      if (lost && changes === changesMax + 1) await work(...words)
      throw new Error(`the store fails: ${name}`)
    }
  const table = new Map<unknown, unknown>(changing.map(name => [name, change(name)]))
  return new Proxy(store, {
    get(target, name) {
      if (name === 'changes') return Math.min(changes, changesMax)
      if (table.has(name)) return table.get(name)
      const value: unknown = Reflect.get(target, name)
      return typeof value === 'function' ? (value.bind(target) as unknown) : value
    },
  }) as FailingStore
}
