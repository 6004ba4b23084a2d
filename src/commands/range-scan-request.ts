/** RANGE_SCAN_CREATE: the JSON that says what is to be scanned, checked. */
import { z } from 'zod'
import { leb128Length, readLeb128, writeLeb128 } from '../../protocol/leb128.ts'
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../errors.ts'
import type { KeyRange } from '../storage/key-scan.ts'
import type { RangeScanRequest, SnapshotRequirements } from '../vbucket/range-scans.ts'

const keyBytesMax = 250
const nameBytesMax = 50
/** Behind every key that a collection can have. */
const lastKey = 'ÿ'.repeat(keyBytesMax + 1)

const uint32 = z.number().int().min(0).max(0xffffffff)
/** Up to 64 bits, of which JavaScript keeps the upper 53: clients draw seeds from all of them. */
const seed = z.number().refine(Number.isInteger, 'a seed is an integer').transform(folded)
const key = z.string().refine(isBase64, 'keys are in base64').transform(decoded)
const schema = z.object({
  collection: z
    .string()
    .regex(/^(0x)?[0-9a-f]{1,8}$/i)
    .optional(),
  key_only: z.boolean().optional(),
  include_xattrs: z.boolean().optional(),
  name: z
    .string()
    .refine(name => Buffer.byteLength(name) <= nameBytesMax)
    .optional(),
  range: z
    .object({
      start: key.optional(),
      excl_start: key.optional(),
      end: key.optional(),
      excl_end: key.optional(),
    })
    .optional(),
  sampling: z.object({ samples: z.number().int().min(0), seed: seed.optional() }).optional(),
  snapshot_requirements: z
    .object({
      // Clients without unsigned numbers of 64 bits write the upper half of them with a sign.
      vb_uuid: z.string().regex(/^(\d{1,20}|-\d{1,19})$/),
      seqno: z.number().int().min(0),
      seqno_exists: z.boolean().optional(),
      timeout_ms: uint32.optional(),
    })
    .optional(),
})
type Parsed = z.output<typeof schema>

/** What the client may be shown. */
export interface RangeScanClient {
  xattr: boolean
  snappy: boolean
}

/** Fails with a StatusError. */
export function readRangeScan(text: string, client: RangeScanClient): RangeScanRequest {
  const parsed = parse(text)
  const { key_only: keyOnly = false, include_xattrs: includeXattrs = false, sampling } = parsed
  if ((parsed.range === undefined) === (sampling === undefined)) {
    throw invalid('either range or sampling has to be given')
  }
  if (includeXattrs && !client.xattr) {
    throw new StatusError(Status.notSupported, 'attributes have to be negotiated')
  }
  if (includeXattrs && keyOnly) throw invalid('key_only and include_xattrs exclude each other')
  const collection = Number.parseInt(parsed.collection ?? '0', 16)
  const prefix = prefixOf(collection)
  const form = { keyOnly, includeXattrs, keepSnappy: client.snappy, prefixLength: prefix.length }
  return {
    collection,
    range: rangeOf(parsed, prefix),
    sampling: sampling && { samples: sampling.samples, seed: sampling.seed ?? 0 },
    form,
    requirements: requirementsOf(parsed),
  }
}

/** Keys of a collection from one on, which has the collection's id in front, as bytes (latin1). */
export function keysFrom(start: string): RangeScanRequest {
  const { length, value: collection } = readLeb128(Buffer.from(start, 'latin1'), 0, start.length)!
  const end = start.slice(0, length) + lastKey
  return {
    collection,
    range: { start, includesStart: true, end, includesEnd: true },
    sampling: undefined,
    form: { keyOnly: true, includeXattrs: false, keepSnappy: false, prefixLength: length },
    requirements: undefined,
  }
}

function parse(text: string): Parsed {
  let json: unknown
  try {
    json = JSON.parse(text)
  } catch {
    throw invalid('the value has to be JSON')
  }
  const parsed = schema.safeParse(json)
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  throw invalid(`${issue!.path.join('.')}: ${issue!.message}`)
}

function rangeOf({ range }: Parsed, prefix: string): KeyRange {
  if (range === undefined) {
    return { start: prefix, includesStart: true, end: prefix + lastKey, includesEnd: true }
  }
  const { start, excl_start: afterStart, end, excl_end: beforeEnd } = range
  return {
    start: prefix + one(start, afterStart, 'start'),
    includesStart: start !== undefined,
    end: prefix + one(end, beforeEnd, 'end'),
    includesEnd: end !== undefined,
  }
}

function one(inclusive: string | undefined, exclusive: string | undefined, name: string): string {
  const bound = inclusive ?? exclusive
  if (bound === undefined) throw invalid(`range: ${name} or excl_${name} has to be given`)
  if (inclusive !== undefined && exclusive !== undefined) {
    throw invalid(`range: ${name} and excl_${name} exclude each other`)
  }
  if (bound.length > keyBytesMax) throw invalid(`range: keys have up to ${keyBytesMax} bytes`)
  return bound
}

function requirementsOf(parsed: Parsed): SnapshotRequirements | undefined {
  const required = parsed.snapshot_requirements
  if (required === undefined) return undefined
  return {
    vbuuid: BigInt.asUintN(64, BigInt(required.vb_uuid)),
    seqno: required.seqno,
    seqnoExists: required.seqno_exists ?? false,
    timeoutMs: required.timeout_ms ?? 0,
  }
}

/** The id of a collection as it is in front of its keys. */
function prefixOf(collection: number): string {
  const bytes = Buffer.alloc(leb128Length(collection))
  writeLeb128(bytes, 0, collection)
  return bytes.toString('latin1')
}

/** As many bits as a sample is chosen by. */
function folded(number: number): number {
  return (number ^ Math.floor(number / 2 ** 32)) >>> 0
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/]*={0,2}$/.test(text) && text.length % 4 === 0
}

function decoded(text: string): string {
  return Buffer.from(text, 'base64').toString('latin1')
}

function invalid(message: string): StatusError {
  return new StatusError(Status.invalidArguments, message)
}
