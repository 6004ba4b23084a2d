/**
 * The thread that makes segments: what it does is most of what a backup has to compute, and the main
 * thread has the stream to read.
 */
import { parentPort, type TransferListItem } from 'node:worker_threads'
import { freeMemory } from '../free-memory.ts'
import { SpareMemory } from '../spare-memory.ts'
import { SegmentBuilder, type Segment } from './segment-builder.ts'
import type { FromSegmentThread, ToSegmentThread } from './segment-messages.ts'

interface BuiltObject {
  readonly builder: SegmentBuilder
  /** Memory that is to go back. */
  readonly freed: Buffer[]
  /** Memory of blocks that are part of the segment that has begun, as they are. */
  readonly used: Buffer[]
}

const objects = new Map<number, BuiltObject>()
/** Of segments that were written. */
const spareMemory = new SpareMemory(16 * 1024 * 1024)
const port = parentPort!

port.on('message', (message: ToSegmentThread) => {
  const { object } = message
  answerTo(message).then(
    answer => send(answer),
    (error: Error) => send({ object, freed: [], error }),
  )
})

async function answerTo(message: ToSegmentThread): Promise<FromSegmentThread> {
  const { object } = message
  let segment: Segment | undefined
  const built = objects.get(object) ?? begin(message)
  if (!built) return { object, freed: [] }
  const { builder, freed, used } = built
  if (message.type === 'add') {
    for (const memory of message.released) spareMemory.give(memory)
    const { memory, ...block } = message.block
    const bytes = Buffer.from(memory.buffer, memory.byteOffset, memory.length)
    segment = await builder.add({ ...block, memory: bytes })
    if (!freed.includes(bytes)) used.push(bytes)
    if (block.isLast) objects.delete(object)
  } else {
    segment = await builder.end()
    objects.delete(object)
  }
  if (!segment) return { object, freed: freed.splice(0) }
  const { chunks, ...rest } = segment
  // What a compressor answers with cannot be handed over, and many chunks are many messages.
  const bytes = spareMemory.take(segment.size)
  let at = 0
  const blocks = new Set(used.map(({ buffer }) => buffer))
  for (const chunk of chunks) {
    bytes.set(chunk, at)
    at += chunk.length
    // What was compressed, or encrypted; what was neither goes back.
    if (!blocks.has(chunk.buffer)) freeMemory(chunk)
  }
  return { object, segment: { ...rest, bytes }, freed: [...freed.splice(0), ...used.splice(0)] }
}

function begin(message: ToSegmentThread): BuiltObject | undefined {
  if (message.type !== 'add') return undefined
  const freed: Buffer[] = []
  const builder = new SegmentBuilder(message.options!, memory => freed.push(memory))
  const built = { builder, freed, used: [] }
  objects.set(message.object, built)
  return built
}

function send(answer: FromSegmentThread): void {
  const buffers = [...answer.freed, ...(answer.segment ? [answer.segment.bytes] : [])]
  const transferred: TransferListItem[] = buffers.map(({ buffer }) => buffer as ArrayBuffer)
  port.postMessage(answer, transferred)
}
