/** Counters in documents: whole numbers of 64 bits with a sign, exact over all their range. */
import { Status } from '../../../protocol/status.ts'

const min = -(2n ** 63n)
const max = 2n ** 63n - 1n

function isInRange(number: bigint): boolean {
  return number >= min && number <= max
}

/** What is to be added; undefined if it is no such number, or 0. */
export function parseDelta(text: Buffer): bigint | undefined {
  const digits = text.toString('latin1')
  if (!/^-?[1-9][0-9]{0,18}$/.test(digits)) return undefined
  const delta = BigInt(digits)
  return isInRange(delta) ? delta : undefined
}

/** The number that a JSON value has with the delta added, as text; or why it has none. */
export function count(value: Buffer, delta: bigint): Buffer | Status {
  const digits = value.toString('latin1')
  if (!/^-?[0-9]+$/.test(digits)) return Status.subdocPathMismatch
  // Twenty characters are the longest there can be, and long ones cost.
  if (digits.length > 20) return Status.subdocNumberOutOfRange
  const number = BigInt(digits)
  if (!isInRange(number)) return Status.subdocNumberOutOfRange
  const sum = number + delta
  return isInRange(sum) ? Buffer.from(sum.toString()) : Status.subdocValueCannotInsert
}
