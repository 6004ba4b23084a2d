import { decodeVbSeqnos, encodeAllVbSeqnosRequest } from '../../protocol/commands/all-vb-seqnos.ts'
import {
  bufferAcknowledgementLength,
  encodeBufferAcknowledgement,
} from '../../protocol/dcp/buffer-acknowledgement.ts'
import { DcpControlKey } from '../../protocol/dcp/control.ts'
import { decodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import { encodeMessage } from '../../protocol/dcp/message.ts'
import { encodeStreamRequestValue } from '../../protocol/dcp/stream-request-value.ts'
import { encodeStreamRequest, streamRequestLength } from '../../protocol/dcp/stream-request.ts'
import type { Frame } from '../../protocol/frame.ts'
import { headerLength } from '../../protocol/header.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeResponse } from '../../protocol/requests.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Timer } from '../clock.ts'
import { decodeManifest, type CollectionsManifest } from './collections-manifest.ts'
import { Connection } from './connection.ts'
import type { DcpSettings } from './dcp-options.ts'
import { openProducer } from './dcp-setup.ts'
import { ClientError, protocolError } from './errors.ts'
import { expectSuccess, handshake } from './handshake.ts'
import type { HistoryBranch } from './stream-position.ts'
import type { VbucketStream } from './vbucket-stream.ts'

/** A stream request may have to wait until the server has a snapshot to read from. */
const streamRequestTimeoutMs = 60_000

/** Bytes consumed before the server is told, if there is more to consume: one small frame each. */
const acknowledgeBytesMin = 64 * 1024

/**
 * One connection of a DCP client, from DCP_OPEN to its end: it keeps the link alive and the
 * server's window open, and hands every message of a stream to `onMessage`.
 */
export class DcpSession {
  /** Resolves once the connection is gone, with the reason unless we closed it. */
  readonly closed: Promise<ClientError | undefined>
  /** Messages of streams; the frame is valid until it returns. */
  onMessage: (frame: Frame) => void = () => {}
  readonly #settings: DcpSettings
  readonly #connection: Connection
  #controls: ReadonlySet<string> = new Set()
  #manifest: CollectionsManifest | undefined
  #consumedBytes = 0
  #acknowledgedBytes = 0
  #heartbeat: Timer | undefined
  #paused = false
  #resumedMs = 0

  /** Begins to connect. */
  constructor(settings: DcpSettings) {
    this.#settings = settings
    let resolveClosed: (error: ClientError | undefined) => void
    this.closed = new Promise(resolve => (resolveClosed = resolve))
    this.#connection = new Connection(settings.connection, {
      onRequest: frame => this.#received(frame),
      onClose: error => {
        this.#heartbeat?.cancel()
        resolveClosed(error)
      },
    })
  }

  /** Resolves when streams can be asked for. To be called once. */
  async open(): Promise<void> {
    const { bucket, credentials, name } = this.#settings
    const collections = this.#settings.collections !== undefined
    const agent = `holdfast ${name}`
    const connection = this.#connection
    await connection.connected()
    try {
      const access = credentials ? { credentials } : {}
      await handshake(connection, { bucket, agent, collections, ...access })
      if (collections) this.#manifest = await readManifest(connection)
      this.#controls = await openProducer(connection, this.#settings)
    } catch (error) {
      connection.destroy()
      throw error
    }
    this.#startHeartbeat()
  }

  get bytesRead(): number {
    return this.#connection.bytesRead
  }

  /** Consumed, but the server has not been told yet. */
  get unacknowledgedBytes(): number {
    return this.#consumedBytes - this.#acknowledgedBytes
  }

  /** As of the connection's start; for clients that asked for collections. */
  get manifest(): CollectionsManifest | undefined {
    return this.#manifest
  }

  granted(control: DcpControlKey): boolean {
    return this.#controls.has(control)
  }

  /** The high seqno of each vbucket: of the active ones, or of all that this node has. */
  highSeqnos(which: 'active' | 'all'): Promise<Map<number, number>> {
    const state = which === 'active' ? VbucketState.active : undefined
    const extras = encodeAllVbSeqnosRequest({ state, collection: undefined })
    return this.#connection.send({ opcode: Opcode.getAllVbSeqnos, extras }, frame => {
      expectSuccess(frame)
      const seqnos = decodeVbSeqnos(frame)
      if (!seqnos) throw protocolError('malformed vbucket seqnos')
      return new Map(seqnos.map(({ vbid, seqno }) => [vbid, seqno]))
    })
  }

  failoverLog(vbid: number): Promise<HistoryBranch[]> {
    return this.#connection.send({ opcode: Opcode.dcpGetFailoverLog, vbid }, frame => {
      expectSuccess(frame)
      return failoverLogOf(frame)
    })
  }

  /**
   * Asks to go on where `stream` is. `onAnswer` sees the answer before any message of the stream
   * that may follow it in the same read.
   */
  requestStream(stream: VbucketStream, onAnswer: (frame: Frame) => void): Promise<void> {
    const { history, seqno, snapshot } = stream.received
    const purgeSeqno = this.granted(DcpControlKey.maxMarkerVersion)
      ? snapshot.purgeSeqno
      : undefined
    const fields = {
      opaque: 0,
      vbid: stream.vbid,
      flags: this.#settings.streamFlags,
      startSeqno: seqno,
      endSeqno: stream.requestEndSeqno,
      vbuuid: history.vbuuid,
      snapshotStartSeqno: snapshot.start,
      snapshotEndSeqno: snapshot.end,
      value: encodeStreamRequestValue({
        ...stream.filter,
        ...(purgeSeqno === undefined ? {} : { purgeSeqno }),
      }),
    }
    const bytes = encodeMessage(encodeStreamRequest, streamRequestLength(fields), fields)
    return this.#connection.send(bytes, onAnswer, { timeoutMs: streamRequestTimeoutMs })
  }

  closeStream(vbid: number): Promise<void> {
    return this.#connection.send({ opcode: Opcode.dcpCloseStream, vbid }, expectSuccess)
  }

  /** The consumer is done with `bytes` of what this connection brought. */
  consumed(bytes: number): void {
    this.#consumedBytes += bytes
  }

  /** Tells the server about what was consumed, if it is enough to be worth it, or if `all`. */
  acknowledge(all: boolean): void {
    const bytes = this.unacknowledgedBytes
    if (bytes === 0 || this.#settings.bufferBytes === 0) return
    if (!all && bytes < Math.min(acknowledgeBytesMin, this.#settings.bufferBytes / 5)) return
    this.#acknowledgedBytes += bytes
    const fields = { opaque: 0, vbid: 0, bytes }
    this.#connection.write(
      encodeMessage(encodeBufferAcknowledgement, bufferAcknowledgementLength, fields),
    )
  }

  /** Stops or goes on reading the socket; meanwhile silence means nothing. */
  pause(paused: boolean): void {
    if (paused === this.#paused) return
    this.#paused = paused
    if (paused) this.#connection.pause()
    else {
      this.#resumedMs = this.#settings.clock.monotonicMs()
      this.#connection.resume()
    }
  }

  /** With QUIT the server forgets us at once; without, it keeps our snapshots for a while. */
  async close(goodbye: boolean): Promise<void> {
    this.onMessage = () => {}
    if (goodbye) {
      this.pause(false)
      await this.#connection.close()
    } else {
      this.#connection.destroy()
    }
    await this.closed
  }

  /** The link, or what came over it, is no good. */
  destroy(error: ClientError): void {
    this.#connection.destroy(error)
  }

  #received(frame: Frame): void {
    if (frame.opcode === Opcode.dcpNoop) {
      this.#connection.write(encodeResponse({ opcode: Opcode.dcpNoop, opaque: frame.opaque }))
    } else {
      this.onMessage(frame)
    }
  }

  #startHeartbeat(): void {
    const { clock, noopIntervalMs } = this.#settings
    const tickMs = Math.max(10, noopIntervalMs / 5)
    let tickedMs = clock.monotonicMs()
    let probedMs = -Infinity
    this.#heartbeat = clock.every(tickMs, () => {
      const nowMs = clock.monotonicMs()
      // If it was this process that stood still, what arrived meanwhile has yet to be read.
      const stoodStill = nowMs - tickedMs > 2 * tickMs
      tickedMs = nowMs
      if (this.#paused || stoodStill) return
      const silentMs = nowMs - Math.max(this.#connection.lastReadMs, this.#resumedMs)
      if (silentMs >= 2 * noopIntervalMs) {
        const message = `connection lost: nothing heard for ${Math.round(silentMs)} ms`
        this.#connection.destroy(new ClientError('HOLDFAST_CONNECTION_LOST', message))
      } else if (silentMs >= 1.2 * noopIntervalMs && nowMs - probedMs >= noopIntervalMs) {
        // The server only sends no-ops while it has streams; so that silence means a dead link in
        // any case, we ask too.
        probedMs = nowMs
        this.#connection.send({ opcode: Opcode.noop }, () => {}).catch(() => {})
      }
    })
  }
}

function readManifest(connection: Connection): Promise<CollectionsManifest> {
  return connection.send({ opcode: Opcode.getCollectionsManifest }, frame => {
    expectSuccess(frame)
    return decodeManifest(frame.value().toString())
  })
}

/** The failover log in the value of a successful answer. */
export function failoverLogOf(frame: Frame): HistoryBranch[] {
  const log = decodeFailoverLog(frame)
  if (!log) throw protocolError('a malformed failover log')
  return log
}

/** What flow control counts of a message. */
export function windowBytes(frame: Frame): number {
  return headerLength + frame.bodyLength
}
