import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { Opcode } from '../protocol/opcode.ts'
import { encodeRequest } from '../protocol/requests.ts'
import { vbucketOf } from '../protocol/key-hash.ts'
import type { Histogram } from './histogram.ts'
import { keyOf } from './load.ts'

const headerLength = 24
const tickMs = 1

export interface PacedGetsOptions {
  readonly port: number
  /** The keys asked for are `keyOf` of a number below this. */
  readonly documents: number
  readonly vbucketCount: number
  readonly connections: number
  readonly perSecond: number
}

interface Lane {
  readonly socket: Socket
  /** When the requests without an answer were sent, oldest first. */
  readonly sentAt: number[]
  /** Bytes still to come of the answer under way; those of its header that are here. */
  bodyLeft: number
  header: Buffer
  headerBytes: number
}

/**
 * GETs at a fixed rate, whether or not those before have been answered, over several connections
 * in turn. A latency is from the write of the request to the read of the whole answer.
 */
export class PacedGets {
  readonly #options: PacedGetsOptions
  readonly #lanes: Lane[]
  #histogram: Histogram | undefined
  #next = 0

  static async start(options: PacedGetsOptions): Promise<PacedGets> {
    const lanes: Lane[] = []
    for (let index = 0; index < options.connections; index++) {
      const socket = connect({ port: options.port, host: '127.0.0.1', noDelay: true })
      await once(socket, 'connect')
      const header = Buffer.alloc(headerLength)
      lanes.push({ socket, sentAt: [], bodyLeft: 0, header, headerBytes: 0 })
    }
    return new PacedGets(options, lanes)
  }

  private constructor(options: PacedGetsOptions, lanes: Lane[]) {
    this.#lanes = lanes
    this.#options = options
    for (const lane of lanes) {
      lane.socket.on('data', (chunk: Buffer) => this.#read(lane, chunk))
      lane.socket.on('error', error => {
        throw error
      })
    }
  }

  /** Sends for that long, and waits for the last answer. */
  async run(durationMs: number, histogram: Histogram): Promise<void> {
    this.#histogram = histogram
    const startedMs = performance.now()
    let sent = 0
    for (;;) {
      const elapsedMs = performance.now() - startedMs
      if (elapsedMs >= durationMs) break
      const due = Math.floor((elapsedMs / 1000) * this.#options.perSecond)
      for (; sent < due; sent++) this.#send()
      await new Promise(resolve => setTimeout(resolve, tickMs))
    }
    while (this.#lanes.some(({ sentAt }) => sentAt.length > 0)) {
      await new Promise(resolve => setTimeout(resolve, tickMs))
    }
  }

  close(): void {
    for (const { socket } of this.#lanes) socket.destroy()
  }

  #send(): void {
    const lane = this.#lanes[this.#next++ % this.#lanes.length]!
    const { documents, vbucketCount } = this.#options
    // Made when it is needed: a million requests kept for later would make this process pause.
    const key = keyOf(Math.floor(Math.random() * documents))
    const request = encodeRequest({ opcode: Opcode.get, key, vbid: vbucketOf(key, vbucketCount) })
    lane.sentAt.push(performance.now())
    lane.socket.write(request)
  }

  #read(lane: Lane, chunk: Buffer): void {
    const nowMs = performance.now()
    let at = 0
    while (at < chunk.length) {
      if (lane.headerBytes < headerLength) {
        const taken = chunk.copy(lane.header, lane.headerBytes, at)
        at += taken
        lane.headerBytes += taken
        if (lane.headerBytes < headerLength) return
        if (lane.header.readUInt16BE(6) !== 0) throw new Error('a GET has failed')
        lane.bodyLeft = lane.header.readUInt32BE(8)
      }
      const taken = Math.min(lane.bodyLeft, chunk.length - at)
      at += taken
      lane.bodyLeft -= taken
      if (lane.bodyLeft > 0) return
      lane.headerBytes = 0
      this.#histogram!.add((nowMs - lane.sentAt.shift()!) * 1000)
    }
  }
}
