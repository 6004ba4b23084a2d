/** `scope.collection`, as people write which collection they mean. */
export interface CollectionPath {
  readonly scope: string
  readonly collection: string
}

export const defaultCollection = 0
export const defaultCollectionPath = '_default._default'

/** A name alone is that of a collection in the default scope. Fails with a RangeError. */
export function parseCollectionPath(text: string): CollectionPath {
  const names = text.split('.')
  const [scope, collection] = names.length === 1 ? ['_default', text] : names
  if (names.length > 2 || !scope || !collection) {
    throw new RangeError(`a collection is named SCOPE.COLLECTION, not ${JSON.stringify(text)}`)
  }
  return { scope, collection }
}

export function pathText({ scope, collection }: CollectionPath): string {
  return `${scope}.${collection}`
}
