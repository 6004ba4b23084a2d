import { decodeErrorContext } from '../../protocol/commands/error-context.ts'
import { Datatype } from '../../protocol/datatype.ts'
import type { Frame } from '../../protocol/frame.ts'
import { opcodeName } from '../../protocol/opcode.ts'
import { statusName } from '../../protocol/status.ts'
import { statusRetry, statusText, type Retry } from '../../protocol/status-table.ts'

/** Stable and documented, unlike messages: what programs should look at. */
export type ClientErrorCode =
  /** No connection could be made. */
  | 'HOLDFAST_CONNECT'
  /** The connection ended while something was under way. */
  | 'HOLDFAST_CONNECTION_LOST'
  /** No answer in time; the request may have been carried out or not. */
  | 'HOLDFAST_TIMEOUT'
  /** The peer sent what the protocol does not allow. */
  | 'HOLDFAST_PROTOCOL'
  /** The client was closed by its owner. */
  | 'HOLDFAST_CLOSED'
  /** The server answered with an error status: see `ServerError`. */
  | 'HOLDFAST_STATUS'
  /** `onRollback` answered `stop`. */
  | 'HOLDFAST_ROLLBACK'
  /** A saved stream state that cannot be used. */
  | 'HOLDFAST_STATE'

/** The base of everything the clients throw, but for mistakes in their arguments. */
export class ClientError extends Error {
  readonly code: ClientErrorCode
  constructor(code: ClientErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.name = 'ClientError'
    this.code = code
  }
}

/** The server's own refusal. A miss is none where a method can answer `undefined`. */
export class ServerError extends ClientError {
  readonly status: number
  /** For example `keyExists`. */
  readonly statusName: string
  /** What a caller can do: `never`, `now`, `after-map` or `later` try again. */
  readonly retry: Retry
  /** The server's words, if it sent some, and its reference for finding them in its log. */
  readonly context: string | undefined
  readonly reference: string | undefined

  constructor(opcode: number, status: number, context?: string, reference?: string) {
    const detail = context && context !== statusText(status) ? `: ${context}` : ''
    super('HOLDFAST_STATUS', `${opcodeName(opcode)}: ${statusName(status)}${detail}`)
    this.name = 'ServerError'
    this.status = status
    this.statusName = statusName(status)
    this.retry = statusRetry(status)
    this.context = context
    this.reference = reference
  }

  /** The error of a response; `frame` is not kept. */
  static from(frame: Frame): ServerError {
    const isJson = (frame.datatype & Datatype.json) !== 0
    const told = isJson ? decodeErrorContext(frame) : undefined
    const text = frame.value().toString()
    const context = told ? told.context : text || undefined
    return new ServerError(frame.opcode, frame.status, context, told?.ref)
  }
}

export function protocolError(what: string): ClientError {
  return new ClientError('HOLDFAST_PROTOCOL', what)
}
