/** Messages of a stream that are no changes: markers, ends and the like. */
import { streamIdFramingLength, writeStreamIdHeader } from '../storage/stream-id-frame.ts'
import type { Outbox } from './outbox.ts'

type Encode<Fields> = (target: Uint8Array, offset: number, fields: Fields) => number

/** Encodes a message of `length` bytes, with the id of its stream if that has one. */
export function sendMessage<Fields>(
  outbox: Outbox,
  streamId: number,
  length: number,
  encode: Encode<Fields>,
  fields: Fields,
): void {
  const withId = streamId === 0 ? length : length + streamIdFramingLength
  const offset = outbox.reserve(withId)
  encode(outbox.slab, offset, fields)
  if (streamId !== 0) writeStreamIdHeader(outbox.slab, offset, length, streamId)
  outbox.commit(withId)
}
