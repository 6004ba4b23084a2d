import { once } from 'node:events'
import { createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { encodeMessage } from '../../protocol/dcp/message.ts'
import { encodeMutation, mutationLength } from '../../protocol/dcp/mutation.ts'
import { encodeDeletion, deletionLength } from '../../protocol/dcp/deletion.ts'
import {
  encodeSnapshotMarker,
  snapshotMarkerLength,
  type MarkerVersion,
} from '../../protocol/dcp/snapshot-marker.ts'
import { encodeStreamEnd, streamEndLength } from '../../protocol/dcp/stream-end.ts'
import { decodeStreamRequest, type StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { FrameReader } from '../../protocol/frame-reader.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeResponse, type ResponseFields } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'

/** What a script does with a frame; `false` leaves it to the server's defaults. */
export type Script = (frame: Frame, peer: Peer) => boolean | void

/** A client of the scripted server, seen from the server. */
export class Peer {
  readonly socket: Socket
  /** Counts the connections of the server from 0. */
  readonly number: number
  /** Everything it sent, detached. */
  readonly received: Frame[] = []

  constructor(socket: Socket, number: number) {
    this.socket = socket
    this.number = number
  }

  send(...bytes: Uint8Array[]): void {
    this.socket.write(Buffer.concat(bytes))
  }

  reply(frame: Frame, fields: Omit<ResponseFields, 'opcode' | 'opaque'> = {}): void {
    this.send(answer(frame, fields))
  }

  sent(opcode: number): Frame[] {
    return this.received.filter(frame => frame.opcode === opcode)
  }

  reset(): void {
    this.socket.resetAndDestroy()
  }
}

export function answer(
  frame: Frame,
  fields: Omit<ResponseFields, 'opcode' | 'opaque'> = {},
): Buffer {
  return encodeResponse({ opcode: frame.opcode, opaque: frame.opaque, ...fields })
}

/**
 * A server that says what a test wants: each frame goes to the script; what the script leaves is
 * answered with success and an empty body.
 */
export class ScriptedServer {
  script: Script
  readonly peers: Peer[] = []
  readonly #server: Server

  static async start(
    t: { teardown(run: () => unknown): unknown },
    script: Script = () => false,
  ): Promise<ScriptedServer> {
    const scripted = new ScriptedServer(script)
    scripted.#server.listen(0, '127.0.0.1')
    await once(scripted.#server, 'listening')
    t.teardown(() => scripted.close())
    return scripted
  }

  private constructor(script: Script) {
    this.script = script
    this.#server = createServer(socket => {
      socket.setNoDelay(true)
      const peer = new Peer(socket, this.peers.length)
      this.peers.push(peer)
      const reader = new FrameReader({ maxBodyBytes: 1e9, skipBodyBytes: 1e9 })
      socket.on('error', () => {})
      socket.on('data', chunk => {
        reader.read(chunk, frame => {
          peer.received.push(frame.copy())
          if (this.script(frame, peer) === false) byDefault(frame, peer)
        })
      })
    })
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  get last(): Peer {
    return this.peers.at(-1)!
  }

  async close(): Promise<void> {
    for (const peer of this.peers) peer.socket.destroy()
    await new Promise<void>(resolve => this.#server.close(() => resolve()))
  }
}

const unanswered: readonly number[] = [
  Opcode.dcpBufferAcknowledgement,
  Opcode.dcpNoop,
  Opcode.quitq,
]

function byDefault(frame: Frame, peer: Peer): void {
  if (!unanswered.includes(frame.opcode)) peer.reply(frame)
  if (frame.opcode === Opcode.quit || frame.opcode === Opcode.quitq) peer.socket.end()
}

/** A stream request that a script received. */
export function streamRequestOf(frame: Frame): StreamRequest | undefined {
  return frame.opcode === Opcode.dcpStreamRequest ? decodeStreamRequest(frame) : undefined
}

type Branch = readonly [vbuuid: bigint, seqno: number]

/** Accepts a stream request with this failover log, newest first. */
export function accepted(request: Frame, ...log: Branch[]): Buffer {
  const entries = log.map(([vbuuid, seqno]) => ({ vbuuid, seqno }))
  return answer(request, { value: encodeFailoverLog(entries) })
}

export function rolledBackTo(request: Frame, seqno: number): Buffer {
  const value = Buffer.alloc(8)
  value.writeBigUInt64BE(BigInt(seqno))
  return answer(request, { status: Status.rollback, value })
}

export interface StreamOf {
  opaque: number
  vbid: number
}

export function marker(
  { opaque, vbid }: StreamOf,
  startSeqno: number,
  endSeqno: number,
  more: { version?: MarkerVersion; purgeSeqno?: number } = {},
): Buffer {
  const version = more.version ?? '1.0'
  return encodeMessage(encodeSnapshotMarker, snapshotMarkerLength(version), {
    opaque,
    vbid,
    version,
    startSeqno,
    endSeqno,
    flags: 2,
    maxVisibleSeqno: endSeqno,
    highCompletedSeqno: 0,
    purgeSeqno: more.purgeSeqno ?? 0,
    highPreparedSeqno: 0,
  })
}

export function mutation(
  { opaque, vbid }: StreamOf,
  seqno: number,
  key: string | Buffer = `key-${seqno}`,
  value: string | Buffer = `value-${seqno}`,
): Buffer {
  const fields = {
    opaque,
    vbid,
    casHigh: 0,
    casLow: 1000 + seqno,
    datatype: 0,
    seqno,
    revno: 1,
    flags: 7,
    expiry: 0,
    lockTime: 0,
    nru: 0,
    key: Buffer.from(key),
    value: Buffer.from(value),
  }
  return encodeMessage(
    encodeMutation,
    mutationLength(fields.key.length, fields.value.length),
    fields,
  )
}

export function mutations(stream: StreamOf, from: number, to: number): Buffer {
  const frames: Buffer[] = []
  for (let seqno = from; seqno <= to; seqno++) frames.push(mutation(stream, seqno))
  return Buffer.concat(frames)
}

export function deletion(
  { opaque, vbid }: StreamOf,
  seqno: number,
  key: string,
  deleteTime: number | undefined,
): Buffer {
  const fields = {
    opaque,
    vbid,
    casHigh: 0,
    casLow: 1000 + seqno,
    datatype: 0,
    seqno,
    revno: 2,
    deleteTime,
    key: Buffer.from(key),
    value: Buffer.alloc(0),
  }
  return encodeMessage(encodeDeletion, deletionLength(fields), fields)
}

export function streamEnd({ opaque, vbid }: StreamOf, reason: number): Buffer {
  return encodeMessage(encodeStreamEnd, streamEndLength, { opaque, vbid, reason })
}

/** Resolves when `condition` holds; checks after every turn of the event loop. */
export async function until(condition: () => boolean, what = 'condition'): Promise<void> {
  const deadline = performance.now() + 5_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within 5 s`)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
}
