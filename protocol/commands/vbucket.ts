import { readUint32, writeUint32 } from '../bytes.ts'
import type { Frame } from '../frame.ts'
import { isVbucketState } from '../vbucket-state.ts'
import type { VbucketState } from '../vbucket-state.ts'

/**
 * SET_VBUCKET, GET_VBUCKET and DEL_VBUCKET; the vbucket is in the header.
 *
 * ```
 * SET_VBUCKET request   extras | state u8 |     value: nothing, or JSON
 * GET_VBUCKET response  value  | state u32 |
 * DEL_VBUCKET request   value: nothing, or the text async=0 to be answered once it is gone
 * ```
 *
 * Old clients send SET_VBUCKET with a state of four bytes, which is understood too.
 */
const stateExtrasLength = 1
const oldStateExtrasLength = 4
const stateValueLength = 4

/** The value of a DEL_VBUCKET that waits. */
export const deleteVbucketSynchronously = 'async=0'

export function encodeSetVbucketExtras(state: VbucketState): Buffer {
  return Buffer.of(state)
}

export function decodeSetVbucketExtras(frame: Frame): VbucketState | undefined {
  const { bytes, extrasStart, extrasLength } = frame
  let state = 0
  if (extrasLength === stateExtrasLength) state = bytes[extrasStart]!
  else if (extrasLength === oldStateExtrasLength) state = frame.extrasUint32(0)
  return isVbucketState(state) ? state : undefined
}

export function encodeVbucketStateValue(state: VbucketState): Buffer {
  const value = Buffer.alloc(stateValueLength)
  writeUint32(value, 0, state)
  return value
}

export function decodeVbucketStateValue(frame: Frame): VbucketState | undefined {
  if (frame.valueLength !== stateValueLength) return undefined
  const state = readUint32(frame.bytes, frame.valueStart)
  return isVbucketState(state) ? state : undefined
}
