import { seqnoInfinity } from '../../protocol/bytes.ts'
import { StreamEndReason, streamEndReasonName } from '../../protocol/dcp/stream-end.ts'
import { decodeRollbackSeqno } from '../../protocol/dcp/stream-request.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Timer } from '../clock.ts'
import type { DcpSettings } from './dcp-options.ts'
import { failoverLogOf, type DcpSession } from './dcp-session.ts'
import { ClientError, protocolError, ServerError } from './errors.ts'
import type { EventQueue } from './event-queue.ts'
import type { HistoryBranch } from './stream-position.ts'
import type { VbucketStream } from './vbucket-stream.ts'

export interface OpenerEvents {
  /** A stream was accepted; `resumed` if it goes on behind something it already had. */
  opened(resumed: boolean): void
  rollbackAsked(stream: VbucketStream, seqno: number): void
  /** Something was queued. */
  queued(): void
  failed(error: ClientError): void
}

/** Beyond this the server seems unable to make up its mind, and is asked less eagerly. */
const rollbacksInRowMax = 3

/** Opens streams on the current session, and again after whatever ended them. */
export class StreamOpener {
  readonly #settings: DcpSettings
  readonly #queue: EventQueue
  readonly #events: OpenerEvents
  readonly #timers = new Set<Timer>()
  #session: DcpSession | undefined
  #streams: ReadonlyMap<number, VbucketStream> = new Map()

  constructor(settings: DcpSettings, queue: EventQueue, events: OpenerEvents) {
    this.#settings = settings
    this.#queue = queue
    this.#events = events
  }

  /** A new connection: all that is not over, nor waits for the consumer, is asked for. */
  attach(session: DcpSession, streams: ReadonlyMap<number, VbucketStream>): void {
    this.#session = session
    this.#streams = streams
    this.openMore()
  }

  /** Asks for streams that nobody asked for yet, as many as may be open at a time. */
  openMore(): void {
    const { openStreamsMax } = this.#settings
    const streams = [...this.#streams.values()]
    let busy = streams.filter(({ phase }) => phase !== 'idle' && phase !== 'done').length
    for (const stream of streams) {
      if (busy >= openStreamsMax) return
      if (stream.phase !== 'idle') continue
      this.open(stream)
      busy++
    }
  }

  /** The connection is gone: what it carried has to be opened anew. */
  detach(streams: Iterable<VbucketStream>): void {
    this.#session = undefined
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    for (const stream of streams)
      if (stream.phase !== 'done' && stream.phase !== 'rolling-back') stream.phase = 'idle'
  }

  open(stream: VbucketStream): void {
    const session = this.#session
    if (!session) return
    stream.phase = 'opening'
    session
      .requestStream(stream, frame => {
        if (session === this.#session && stream.phase === 'opening')
          this.#answered(stream, session, frame)
      })
      .catch((error: Error) => this.#broken(session, error))
  }

  /** The server ended a stream: whether, and when, it is opened again depends on why. */
  ended(stream: VbucketStream, code: number): { reopens: boolean; reason: string } {
    const reason = streamEndReasonName(code)
    const atItsEnd = code === StreamEndReason.ok && stream.endSeqno !== seqnoInfinity
    if (atItsEnd || code === StreamEndReason.filterEmpty) {
      stream.phase = 'done'
      if (this.#settings.openStreamsMax !== Infinity) this.openMore()
      return { reopens: false, reason }
    }
    if (code === StreamEndReason.lostPrivileges) {
      stream.phase = 'done'
      const context = `the stream of vbucket ${stream.vbid} may no longer be read`
      this.#events.failed(new ServerError(Opcode.dcpStreamEnd, Status.accessDenied, context))
      return { reopens: false, reason }
    }
    this.#settings.log.debug({ vbid: stream.vbid, reason }, 'stream ended, opening it again')
    // A rollback is followed by asking at once; for the rest the cause may need time to pass.
    if (code === StreamEndReason.rollback) this.#openSoon(stream, 0)
    else this.#openSoon(stream, stream.backoff.nextMs())
    return { reopens: true, reason }
  }

  #openSoon(stream: VbucketStream, delayMs: number): void {
    stream.phase = 'waiting'
    const timer = this.#settings.clock.after(delayMs, () => {
      this.#timers.delete(timer)
      if (stream.phase === 'waiting') this.open(stream)
    })
    this.#timers.add(timer)
  }

  #answered(stream: VbucketStream, session: DcpSession, frame: Frame): void {
    if (frame.status === Status.success) {
      const resumed = stream.wasOpen || stream.received.seqno > 0
      stream.opened(frame.opaque, failoverLogOf(frame), session)
      this.#events.opened(resumed)
      return
    }
    if (frame.status === Status.rollback) {
      const seqno = decodeRollbackSeqno(frame)
      if (seqno === undefined) this.#events.failed(protocolError('a rollback to nowhere'))
      else this.#rollBack(stream, session, seqno)
      return
    }
    const error = ServerError.from(frame)
    // A vbucket that was here may come back; one that never was is a wrong number.
    const mayPass =
      error.status === Status.notMyVbucket || error.status === Status.keyExists
        ? stream.wasOpen
        : error.retry !== 'never'
    if (!mayPass) {
      this.#events.failed(error)
      return
    }
    const { vbid } = stream
    this.#settings.log.debug({ vbid, status: error.statusName }, 'stream refused for now')
    this.#openSoon(stream, stream.backoff.nextMs())
  }

  /**
   * The server's history is not ours. If the consumer is behind what was received, what waits for
   * it is dropped and the server asked again about what the consumer really has: a part of a
   * snapshot cannot be kept, as it may lack keys whose newer versions come in the dropped part.
   * Otherwise the consumer has to go back, and what it goes back to depends on the server's log.
   */
  #rollBack(stream: VbucketStream, session: DcpSession, seqno: number): void {
    this.#events.rollbackAsked(stream, seqno)
    if (stream.queued > 0 || stream.takenSeqno !== stream.received.seqno) {
      this.#queue.removeAll(stream)
      stream.truncateReceived(stream.taken)
      this.open(stream)
      return
    }
    session
      .failoverLog(stream.vbid)
      .catch((error: Error): readonly HistoryBranch[] => {
        if (error instanceof ServerError) return stream.received.history.failoverLog
        throw error
      })
      .then(failoverLog => {
        if (session !== this.#session || stream.phase !== 'opening') return
        stream.phase = 'rolling-back'
        this.#queue.push({ rollbackSeqno: seqno, failoverLog, stream })
        this.#events.queued()
      })
      .catch((error: Error) => this.#broken(session, error))
  }

  /** After a rollback the consumer followed. */
  reopen(stream: VbucketStream): void {
    stream.rollbacksInRow++
    stream.phase = 'idle'
    if (stream.rollbacksInRow <= rollbacksInRowMax) this.open(stream)
    else if (this.#session) this.#openSoon(stream, stream.backoff.nextMs())
  }

  /** No answer came, or none that makes sense: a new connection may do better. */
  #broken(session: DcpSession, error: Error): void {
    if (session !== this.#session) return
    const cause = error instanceof ClientError ? error : protocolError(error.message)
    session.destroy(cause)
  }
}
