/**
 * How many connections an HTTP port takes at once, and how long each may take over a request. Whoever
 * sends headers byte by byte, or nothing, loses the connection after some seconds; until then it
 * costs no more than its place and the headers' length.
 */
import type { Server, ServerOptions } from 'node:http'
import type { Log } from '../log.ts'

export interface ConnectionLimits {
  readonly connectionsMax: number
  /** From the connection, or the end of the answer before, to the end of the headers. */
  readonly headersTimeoutMs: number
  /** The same to the end of the body. */
  readonly requestTimeoutMs: number
  /** Without any byte in either direction. */
  readonly connectionTimeoutMs: number
  /** Between two requests. */
  readonly keepAliveTimeoutMs: number
  /** How often the first two are looked at. */
  readonly checkIntervalMs: number
  readonly headersBytesMax: number
}

export const connectionTimes = {
  headersTimeoutMs: 10_000,
  requestTimeoutMs: 30_000,
  connectionTimeoutMs: 30_000,
  keepAliveTimeoutMs: 60_000,
  checkIntervalMs: 1_000,
  headersBytesMax: 16 * 1024,
} as const satisfies Partial<ConnectionLimits>

/** What a server has to be made with. */
export function serverOptionsOf(limits: ConnectionLimits): ServerOptions {
  return {
    headersTimeout: limits.headersTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    connectionsCheckingInterval: limits.checkIntervalMs,
    maxHeaderSize: limits.headersBytesMax,
  }
}

/** Closes what comes beyond the greatest number, and tells once each time that it is reached. */
export function limitConnections(
  server: Server,
  { connectionsMax }: Pick<ConnectionLimits, 'connectionsMax'>,
  log: Log,
): void {
  let isFull = false
  server.maxConnections = connectionsMax
  server.on('connection', () => (isFull = false))
  server.on('drop', () => {
    if (!isFull) log.warn({ connectionsMax }, 'no more HTTP connections are taken')
    isFull = true
  })
}
