import { readUint16, readUint64, writeUint16, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * OBSERVE (0x92): how far the last mutation of each key has come on this node.
 *
 * ```
 * request   value  | vbid u16 | key length u16 | key |                              and so on
 * response  value  | vbid u16 | key length u16 | key | state u8 | cas u64 |         and so on
 * ```
 */
export const ObserveState = {
  inMemory: 0x00,
  persisted: 0x01,
  notFound: 0x80,
  /** Deleted in memory; the deletion may not be on disk yet. */
  deleted: 0x81,
} as const
export type ObserveState = (typeof ObserveState)[keyof typeof ObserveState]

const stateAndCasLength = 9

export interface ObservedKey {
  vbid: number
  key: Uint8Array
}

export interface ObservedState extends ObservedKey {
  /** An `ObserveState`. */
  state: number
  cas: bigint
}

export function encodeObserveRequest(keys: readonly ObservedKey[]): Buffer {
  return Buffer.concat(keys.map(({ vbid, key }) => encodeKey(vbid, key, 0)))
}

export function encodeObserveResponse(states: readonly ObservedState[]): Buffer {
  return Buffer.concat(
    states.map(({ vbid, key, state, cas }) => {
      const record = encodeKey(vbid, key, stateAndCasLength)
      record[4 + key.length] = state
      writeUint64(record, 5 + key.length, cas)
      return record
    }),
  )
}

/** The keys are views of the frame. At least one has to be there. */
export function decodeObserveRequest(frame: Frame): ObservedKey[] | undefined {
  const keys: ObservedKey[] = []
  const isWhole = eachRecord(frame, 0, (vbid, key) => keys.push({ vbid, key }))
  return isWhole && keys.length > 0 ? keys : undefined
}

export function decodeObserveResponse(frame: Frame): ObservedState[] | undefined {
  const { bytes } = frame
  const states: ObservedState[] = []
  const isWhole = eachRecord(frame, stateAndCasLength, (vbid, key, end) => {
    states.push({ vbid, key, state: bytes[end]!, cas: readUint64(bytes, end + 1) })
  })
  return isWhole ? states : undefined
}

function encodeKey(vbid: number, key: Uint8Array, restLength: number): Buffer {
  const record = Buffer.alloc(4 + key.length + restLength)
  writeUint16(record, 0, vbid)
  writeUint16(record, 2, key.length)
  record.set(key, 4)
  return record
}

/** Visits the records of the value, each followed by `restLength` bytes; false if it is cut. */
function eachRecord(
  frame: Frame,
  restLength: number,
  visit: (vbid: number, key: Buffer, keyEnd: number) => void,
): boolean {
  const { bytes, valueStart } = frame
  const end = valueStart + frame.valueLength
  let at = valueStart
  while (at < end) {
    if (end - at < 4) return false
    const keyEnd = at + 4 + readUint16(bytes, at + 2)
    if (keyEnd + restLength > end) return false
    visit(readUint16(bytes, at), bytes.subarray(at + 4, keyEnd), keyEnd)
    at = keyEnd + restLength
  }
  return true
}
