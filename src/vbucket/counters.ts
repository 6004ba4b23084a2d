/** Counters: documents whose value is a decimal number of up to 64 bits. */
import { Status } from '../../protocol/status.ts'
import { PlainValue } from '../storage/plain-value.ts'
import type { RecordView } from '../storage/record.ts'
import type { Documents } from './documents.ts'
import type { StoreRequest } from './store-request.ts'
import type { Vbucket } from './vbucket.ts'

/** An expiry that says: do not make the counter if it is not there. */
export const noCreation = 0xffffffff

export interface CounterRequest {
  delta: bigint
  initial: bigint
  isDecrement: boolean
}

const modulus = 2n ** 64n
const plain = new PlainValue()

/**
 * Adds to a counter, or makes it with `initial`. Increments wrap at 2^64, decrements stop at 0.
 * `request` names the key; its expiry applies to a counter that is made. Returns the new value.
 */
export function count(
  documents: Documents,
  vbucket: Vbucket,
  request: StoreRequest,
  counter: CounterRequest,
): bigint | Status {
  const { key, keyStart, keyLength } = request
  const record = documents.get(vbucket, key, keyStart, keyLength)
  if (record === undefined) {
    if (request.expiry === noCreation) return Status.keyNotFound
    if (request.casHigh !== 0 || request.casLow !== 0) return Status.keyNotFound
    return storeNumber(documents, vbucket, request, counter.initial)
  }
  const value = numberIn(record)
  if (value === undefined) return Status.badDelta
  request.flags = record.flags
  request.preserveExpiry = true
  return storeNumber(documents, vbucket, request, next(value, counter))
}

function next(value: bigint, { delta, isDecrement }: CounterRequest): bigint {
  if (!isDecrement) return (value + delta) % modulus
  return value > delta ? value - delta : 0n
}

function storeNumber(
  documents: Documents,
  vbucket: Vbucket,
  request: StoreRequest,
  value: bigint,
): bigint | Status {
  request.value = Buffer.from(value.toString())
  request.valueStart = 0
  request.valueLength = request.value.length
  request.datatype = 0
  request.mode = 'set'
  const status = documents.store(vbucket, request)
  return status === Status.success ? value : status
}

function numberIn(record: RecordView): bigint | undefined {
  const { bytes, bodyStart, end } = plain.of(record)
  if (bodyStart === end || end - bodyStart > 20) return undefined
  const text = String.fromCharCode(...bytes.subarray(bodyStart, end)).trimEnd()
  if (!/^[0-9]+$/.test(text)) return undefined
  const value = BigInt(text)
  return value < modulus ? value : undefined
}
