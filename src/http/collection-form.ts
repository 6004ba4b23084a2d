/** The forms by which scopes and collections are made and changed. */
import type { CollectionWishes } from '../vbucket/collections/collections.ts'
import type { Form } from './bucket-form.ts'
import { refusedForm } from './page-error.ts'

const maxTtlMax = 2 ** 31 - 1

export function readName({ name }: Form): string {
  if (name === undefined || name === '') throw refusedForm({ name: 'The value must be supplied' })
  return name
}

/**
 * `maxTTL` in seconds, where -1 says "none, whatever the bucket's": buckets have none here, so that is
 * 0. `history` is for another storage than there is. What a form leaves out stays as it is.
 */
export function readCollectionWishes({ maxTTL, history }: Form): CollectionWishes {
  if (history !== undefined && history !== 'false') {
    const why =
      history === 'true' ? 'Not allowed on this type of bucket' : 'history must be boolean'
    throw refusedForm({ history: why })
  }
  if (maxTTL === undefined) return {}
  const seconds = Number(maxTTL)
  if (!/^-?\d{1,10}$/.test(maxTTL) || seconds < -1 || seconds > maxTtlMax) {
    throw refusedForm({ maxTTL: `The value must be in range from -1 to ${maxTtlMax}` })
  }
  return { maxTtlSeconds: Math.max(0, seconds) }
}
