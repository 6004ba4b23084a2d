import { MessageChannel, type MessagePort } from 'node:worker_threads'

/** What is smaller may be part of memory that has others in it, and is not worth it. */
const bytesMin = 4096

let sink: MessagePort | undefined

/**
 * Gives memory back now, where the garbage collector would let some 64 MiB of it gather first: it is
 * handed over to a port that nobody listens to. Only what is a buffer of its own; it has no length then.
 */
export function freeMemory({ buffer, byteLength }: Uint8Array): void {
  if (byteLength < bytesMin || byteLength !== buffer.byteLength) return
  sink ??= closedPort()
  sink.postMessage(undefined, [buffer as ArrayBuffer])
}

function closedPort(): MessagePort {
  const { port1, port2 } = new MessageChannel()
  port2.close()
  return port1
}
