/** Changes to a valid request. Each takes the frame and returns what is to be sent for it. */
import { HeaderOffset } from '../../protocol/header.ts'
import { edges, validRequest } from './corpus.ts'
import type { Seeded } from './seeded.ts'

type Mutation = (frame: Buffer, random: Seeded) => Buffer

const headerLength = 24
/** Not 0x82: only servers make such requests, and a client that does is sent away. */
const magics = [0x08, 0x18, 0x80, 0x81, 0x83]

const flipBit: Mutation = (frame, random) => {
  const at = beyondLengths(frame, random)
  frame[at] = frame[at]! ^ (1 << random.below(8))
  return frame
}

const setByte: Mutation = (frame, random) => {
  frame[beyondLengths(frame, random)] = random.oneIn(2) ? random.pick(edges) : random.uint32()
  return frame
}

const setNumber: Mutation = (frame, random) => {
  const at = beyondLengths(frame, random)
  const number = random.oneIn(2) ? random.pick(edges) : 0xffffffff - random.pick(edges)
  if (at + 4 <= frame.length) frame.writeUInt32BE(number, at)
  return frame
}

const setOpcode: Mutation = (frame, random) => {
  // Of another command, so that its checks see lengths that it does not expect.
  frame[HeaderOffset.opcode] = validRequest(random)[HeaderOffset.opcode]!
  return frame
}

const setMagic: Mutation = (frame, random) => {
  frame[0] = random.oneIn(20) ? random.uint32() : random.pick(magics)
  return frame
}

const setKeyLength: Mutation = (frame, random) => {
  frame.writeUInt16BE(random.oneIn(2) ? random.pick(edges) & 0xffff : random.below(64), 2)
  return frame
}

const setExtrasLength: Mutation = (frame, random) => {
  frame[HeaderOffset.extrasLength] = random.below(random.oneIn(2) ? 64 : 256)
  return frame
}

const setBodyLength: Mutation = (frame, random) => {
  const length = random.oneIn(2) ? random.pick(edges) : random.below(frame.length * 2)
  frame.writeUInt32BE(random.oneIn(50) ? random.uint32() : length, HeaderOffset.bodyLength)
  return frame
}

const setDatatype: Mutation = (frame, random) => {
  frame[HeaderOffset.datatype] = random.below(random.oneIn(4) ? 256 : 8)
  return frame
}

const setVbucket: Mutation = (frame, random) => {
  frame.writeUInt16BE(random.pick(edges) & 0xffff, HeaderOffset.vbid)
  return frame
}

const setCas: Mutation = (frame, random) => {
  random.fill(frame, HeaderOffset.cas, headerLength)
  return frame
}

const truncateBody: Mutation = (frame, random) => {
  const length = headerLength + random.below(Math.max(1, frame.length - headerLength))
  frame.writeUInt32BE(length - headerLength, HeaderOffset.bodyLength)
  return frame.subarray(0, length)
}

const extendBody: Mutation = (frame, random) => {
  const more = Buffer.alloc(1 + random.below(random.oneIn(20) ? 70_000 : 300))
  random.fill(more, 0, Math.min(more.length, 64))
  frame.writeUInt32BE(frame.length - headerLength + more.length, HeaderOffset.bodyLength)
  return Buffer.concat([frame, more])
}

/** The body of one request under the header of another, whose lengths are kept. */
const swapBody: Mutation = (frame, random) => {
  const body = validRequest(random).subarray(headerLength)
  frame.writeUInt32BE(body.length, HeaderOffset.bodyLength)
  return Buffer.concat([frame.subarray(0, headerLength), body])
}

const duplicate: Mutation = frame => Buffer.concat([frame, frame])

const insertFraming: Mutation = (frame, random) => {
  const framing = Buffer.alloc(1 + random.below(12))
  random.fill(framing)
  const keyLength = frame.readUInt16BE(2) & 0xff
  const rest = frame.subarray(headerLength)
  const changed = Buffer.concat([frame.subarray(0, headerLength), framing, rest])
  changed[0] = 0x08
  changed[2] = framing.length
  changed[3] = keyLength
  changed.writeUInt32BE(framing.length + rest.length, HeaderOffset.bodyLength)
  return changed
}

/** With how often each is chosen, relative to the others. */
const weights: readonly (readonly [Mutation, number])[] = [
  [flipBit, 4],
  [setByte, 3],
  [setNumber, 2],
  [setOpcode, 2],
  [setMagic, 1],
  [setKeyLength, 2],
  [setExtrasLength, 2],
  [setBodyLength, 1],
  [setDatatype, 1],
  [setVbucket, 1],
  [setCas, 1],
  [truncateBody, 2],
  [extendBody, 1],
  [swapBody, 2],
  [duplicate, 1],
  [insertFraming, 1],
]
const mutations = weights.flatMap(([mutation, weight]) => Array<Mutation>(weight).fill(mutation))

/** One to three changes. */
export function mutate(frame: Buffer, random: Seeded): Buffer {
  let changed = frame
  const count = 1 + (random.oneIn(3) ? random.below(3) : 0)
  for (let done = 0; done < count; done++) {
    // What an earlier change has made too short to have a header stays as it is.
    if (changed.length >= headerLength) changed = random.pick(mutations)(changed, random)
  }
  return changed
}

/**
 * A place to change, mostly in the body and in the fields about it: what cuts the stream into
 * frames is changed by mutations of their own, as a connection seldom survives that.
 */
function beyondLengths(frame: Buffer, random: Seeded): number {
  if (random.oneIn(60)) return random.below(frame.length)
  const inBody = frame.length - headerLength
  return inBody > 0 && !random.oneIn(4)
    ? headerLength + random.below(inBody)
    : random.pick([1, 5, 6, 7, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23])
}
