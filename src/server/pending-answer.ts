import { encodeResponse } from '../../protocol/requests.ts'
import { traced } from '../commands/answer-header.ts'
import { errorBody, errorDatatype, shownStatus } from '../commands/error-body.ts'
import type { Command } from '../commands/command.ts'
import type { Pending, Reply, Session } from '../commands/session.ts'
import type { Frame } from '../../protocol/frame.ts'
import { failureOf } from './failure.ts'
import type { OperationCounters } from './operation-counters.ts'
import type { Slot } from './response-queue.ts'
import type { ResponseWriter } from './response-writer.ts'

/** An answer that is still to come: keeps of its request what the answer has to repeat. */
export class PendingAnswer implements Pending {
  readonly #session: Session
  readonly #writer: ResponseWriter
  readonly #counters: OperationCounters
  readonly #command: Command
  readonly #opaque: number
  readonly #startedMs: number
  readonly #slot: Slot

  constructor(
    session: Session,
    writer: ResponseWriter,
    counters: OperationCounters,
    frame: Frame,
    command: Command,
  ) {
    this.#session = session
    this.#writer = writer
    this.#counters = counters
    this.#command = command
    this.#opaque = frame.opaque
    this.#startedMs = session.clock.monotonicMs()
    this.#slot = writer.openSlot(session.features.unordered && command.reorders)
  }

  answer(status: number, bytes: Buffer | undefined): void {
    const { opcode } = this.#command
    const { features, clock } = this.#session
    const tookMs = clock.monotonicMs() - this.#startedMs
    this.#counters.count(opcode, status)
    this.#counters.time(opcode, tookMs, 1)
    const isTraced = features.tracing && bytes !== undefined
    this.#writer.fillSlot(this.#slot, isTraced ? traced(bytes, tookMs * 1000) : bytes)
  }

  reply(parts: Reply): void {
    const status = parts.status ?? 0
    if (status === 0 && this.#command.quietSuccess) return this.answer(status, undefined)
    if (status !== 0 && !parts.value?.length && !parts.extras?.length)
      return this.#refuse(status, '')
    const { opcode } = this.#command
    this.answer(status, encodeResponse({ ...parts, opcode, status, opaque: this.#opaque }))
  }

  fail(error: unknown): void {
    const session = this.#session
    const fields = { connection: session.id, command: this.#command.name }
    const { status, context } = failureOf(error, session.log, fields)
    this.#refuse(status, context)
  }

  #refuse(status: number, context: string): void {
    const session = this.#session
    const { opcode } = this.#command
    const shown = shownStatus(session, status)
    session.errorContext = context
    const value = errorBody(session, shown, opcode)
    session.errorContext = ''
    const datatype = errorDatatype(session, value)
    const fields = { opcode, status: shown, value, datatype, opaque: this.#opaque }
    this.answer(status, encodeResponse(fields))
  }
}
