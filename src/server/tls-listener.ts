/** Accepts clients by TLS, and knows users by the certificates that they show. */
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server as TlsServer, type TLSSocket } from 'node:tls'
import type { Access } from '../auth/access.ts'
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { CertificateWatch, readCertificate, type TlsFiles } from './certificate.ts'
import { certifiedUser } from './certified-user.ts'

export interface TlsListenerOptions {
  readonly files: TlsFiles
  readonly connectionsMax: number
  readonly handshakeTimeoutMs: number
  readonly access: Access
  readonly clock: Clock
  readonly log: Log
  /** `identity`: whom the client's certificate names. */
  readonly accept: (socket: TLSSocket, identity: Identity | undefined) => void
}

export class TlsListener {
  readonly #options: TlsListenerOptions
  readonly #server: TlsServer
  /** Under the TLS sockets, and of clients that have not got that far. */
  readonly #sockets = new Set<Socket>()
  #watch: CertificateWatch | undefined

  /** Fails with an OperatorError if the files cannot be used. */
  constructor(options: TlsListenerOptions) {
    this.#options = options
    const { files, connectionsMax, handshakeTimeoutMs } = options
    this.#server = createServer({
      ...readCertificate(files),
      allowHalfOpen: true,
      handshakeTimeout: handshakeTimeoutMs,
      // Whoever has none logs in otherwise; whoever has a bad one is looked at below.
      requestCert: files.clientCa !== undefined,
      rejectUnauthorized: false,
    })
    this.#server.maxConnections = connectionsMax
    this.#server.on('connection', (socket: Socket) => this.#track(socket))
    this.#server.on('secureConnection', socket => this.#admit(socket))
    this.#server.on('tlsClientError', (err, socket) => {
      this.#options.log.debug({ err }, 'no TLS handshake')
      socket.destroy()
    })
  }

  /** Fails as `net` does if the address cannot be had. */
  async listen(host: string, port: number): Promise<{ port: number }> {
    const { files, clock, log } = this.#options
    this.#server.listen({ host, port, backlog: 1024 })
    await once(this.#server, 'listening')
    this.#server.on('error', err => log.error({ err }, 'accepting connections failed'))
    this.#watch = new CertificateWatch({ server: this.#server, files, clock, log })
    return { port: (this.#server.address() as AddressInfo).port }
  }

  /** Takes a new certificate at once, rather than when it is noticed. */
  reload(): void {
    this.#watch?.reload()
  }

  /** Accepts nobody any more. */
  close(): void {
    this.#watch?.close()
    if (this.#server.listening) this.#server.close()
  }

  /** Drops clients that are still in their handshake; after the connections are gone. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  #track(socket: Socket): void {
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
  }

  #admit(socket: TLSSocket): void {
    const { files, access, accept } = this.#options
    // A client that is gone already says so by an error.
    if (files.clientCa === undefined || access.isOpen) return accept(socket, undefined)
    const origin = { address: socket.remoteAddress ?? '', via: 'kv-tls' } as const
    const user = certifiedUser(socket, access, origin)
    if (user === 'none') return accept(socket, undefined)
    if (user !== 'refused') return accept(socket, user)
    socket.on('error', () => {})
    socket.destroy()
  }
}
