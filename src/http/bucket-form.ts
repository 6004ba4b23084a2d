/**
 * The form by which a bucket is made or changed. What would change nothing here is taken as it
 * comes; what asks for something that is not there is refused, by field.
 */
import type { BucketShape } from '../vbucket/bucket-shape.ts'
import { refusedForm } from './page-error.ts'

export type Form = Readonly<Record<string, string | undefined>>

const MiB = 1024 * 1024

type Reader = (text: string) => Partial<BucketShape> | string

const nothing = {}

/** What a field may say, where only one answer is possible. */
function only(words: readonly string[], why: string): Reader {
  return text => (words.includes(text) ? nothing : why)
}

const readers: Readonly<Record<string, Reader>> = {
  ramQuotaMB: text => {
    if (!/^\d{1,9}$/.test(text)) return 'The quota is a number of megabytes'
    return { quotaBytes: Number(text) * MiB }
  },
  flushEnabled: text => {
    if (!/^(0|1|true|false)$/.test(text)) return 'flushEnabled is 0 or 1'
    return { flushEnabled: text === '1' || text === 'true' }
  },
  numVBuckets: text => {
    const vbuckets = Number(text)
    const isPower = Number.isInteger(Math.log2(vbuckets)) && vbuckets >= 1 && vbuckets <= 1024
    return isPower ? { vbuckets } : 'numVBuckets is a power of two up to 1024'
  },
  bucketType: only(['couchbase', 'membase'], 'Every bucket is stored: its type is couchbase'),
  conflictResolutionType: only(['seqno'], 'Conflicts are resolved by revision: seqno'),
  durabilityMinLevel: only(['none'], 'A least durability is not enforced here'),
  maxTTL: only(['0'], 'A bucket gives its documents no expiry: maxTTL is 0'),
  authType: only(['sasl'], 'Users log in by SASL'),
}

/** The fields that are about a bucket's shape; the others (replicas, eviction) do not apply here. */
export function readBucketForm(form: Form): Partial<BucketShape> {
  const shape: Partial<BucketShape> = {}
  const errors: Record<string, string> = {}
  for (const [field, read] of Object.entries(readers)) {
    const text = form[field]
    if (text === undefined) continue
    const found = read(text)
    if (typeof found === 'string') errors[field] = found
    else Object.assign(shape, found)
  }
  if (Object.keys(errors).length > 0) throw refusedForm(errors)
  return shape
}
