/** The forms by which scopes and collections are made and changed, and the JSON that says all of them. */
import { z } from 'zod'
import type { CollectionWishes, ScopeWishes } from '../vbucket/collections/collections.ts'
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

const uid = z.string().optional()
const collectionJson = z.strictObject({
  name: z.string().min(1),
  maxTTL: z.int().min(-1).max(maxTtlMax).optional(),
  history: z.literal(false).optional(),
  uid,
})
const scopeJson = z.strictObject({
  name: z.string().min(1),
  collections: z.array(collectionJson).default([]),
  uid,
})
/** As the page that lists them answers; uids are not looked at, since names tell which is which. */
const manifestJson = z.strictObject({ scopes: z.array(scopeJson), uid })

/** All scopes and collections that there are to be. */
export function readScopes(text: string): ScopeWishes[] {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw refusedForm({ _: 'Invalid JSON' })
  }
  const { success, data, error } = manifestJson.safeParse(json)
  if (!success) {
    const [{ path, message }] = error.issues as [z.core.$ZodIssue]
    throw refusedForm({ [path.join('.') || '_']: message })
  }
  return data.scopes.map(({ name, collections }) => ({
    name,
    collections: collections.map(({ name, maxTTL = 0 }) => ({
      name,
      maxTtlSeconds: Math.max(0, maxTTL),
    })),
  }))
}

/** Of the manifest that a change is meant for; undefined: of any. */
export function readValidOnUid(text: unknown): bigint | undefined {
  if (text === undefined) return undefined
  if (typeof text === 'string' && /^[0-9a-f]{1,16}$/i.test(text)) return BigInt(`0x${text}`)
  throw refusedForm({ _: 'Invalid validOnUid' })
}
