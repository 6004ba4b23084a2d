import { connect as connectPlainly, type Socket } from 'node:net'
import { connect as connectByTls, type ConnectionOptions as NodeTlsOptions } from 'node:tls'
import { isIP } from 'node:net'

/** How to know the server, and how to be known by it; all in PEM. */
export interface TlsOptions {
  /** Who may have signed the server's certificate; by default those whom Node.js trusts. */
  ca?: string | Buffer
  /** A certificate to log in with, and its key. */
  cert?: string | Buffer
  key?: string | Buffer
  /** The name that the server's certificate has to have; by default the host. */
  servername?: string
}

export interface SocketOptions {
  host: string
  port: number
  tls: boolean | TlsOptions
  /** Called with what has been read into the buffer. */
  onread: { buffer: Uint8Array; callback: (length: number, bytes: Uint8Array) => boolean }
}

/** The event by which a socket says that it can be used. */
export function readyEvent(tls: boolean | TlsOptions): 'connect' | 'secureConnect' {
  return tls === false ? 'connect' : 'secureConnect'
}

export function openSocket({ host, port, tls, onread }: SocketOptions): Socket {
  if (tls === false) return connectPlainly({ host, port, noDelay: true, onread })
  const options: NodeTlsOptions = { ...(tls === true ? {} : tls), minVersion: 'TLSv1.2' }
  // Addresses are no names to be asked for by.
  if (options.servername === undefined && isIP(host) === 0) options.servername = host
  const socket = connectByTls({ ...options, host, port, onread } as NodeTlsOptions)
  socket.setNoDelay(true)
  return socket
}
