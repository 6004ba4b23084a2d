/** Accepts clients of the HTTP pages by TLS, with the certificate of the other TLS port. */
import { once } from 'node:events'
import type { RequestListener } from 'node:http'
import { createServer, type Server } from 'node:https'
import type { AddressInfo, Socket } from 'node:net'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import { limitConnections, serverOptionsOf, type ConnectionLimits } from './connection-limits.ts'
import { CertificateWatch, readCertificate, type TlsFiles } from '../server/certificate.ts'

export interface HttpsListenerOptions {
  readonly files: TlsFiles
  readonly limits: ConnectionLimits
  readonly clock: Clock
  readonly log: Log
  readonly handle: RequestListener
}

export class HttpsListener {
  readonly #options: HttpsListenerOptions
  readonly #server: Server
  /** Under the TLS sockets, and of clients that have not got that far. */
  readonly #sockets = new Set<Socket>()
  #watch: CertificateWatch | undefined

  /** Fails with an OperatorError if the files cannot be used. */
  constructor(options: HttpsListenerOptions) {
    this.#options = options
    const { files, limits, handle, log } = options
    this.#server = createServer(
      {
        ...readCertificate(files),
        // Whoever has none shows a password; whoever has a bad one is found out by the gate.
        requestCert: files.clientCa !== undefined,
        rejectUnauthorized: false,
        handshakeTimeout: limits.headersTimeoutMs,
        ...serverOptionsOf(limits),
      },
      handle,
    )
    limitConnections(this.#server, limits, log)
    this.#server.timeout = limits.connectionTimeoutMs
    this.#server.keepAliveTimeout = limits.keepAliveTimeoutMs
    this.#server.on('connection', (socket: Socket) => {
      this.#sockets.add(socket)
      socket.once('close', () => this.#sockets.delete(socket))
    })
    this.#server.on('tlsClientError', (err, socket) => {
      log.debug({ err }, 'no TLS handshake')
      socket.destroy()
    })
  }

  /** Fails as `net` does if the address cannot be had. */
  async listen(host: string, port: number): Promise<{ port: number }> {
    const { files, clock, log } = this.#options
    this.#server.listen({ host, port })
    await once(this.#server, 'listening')
    this.#server.on('error', err => log.error({ err }, 'accepting connections failed'))
    this.#watch = new CertificateWatch({ server: this.#server, files, clock, log })
    return { port: (this.#server.address() as AddressInfo).port }
  }

  /** Takes a new certificate at once, rather than when it is noticed. */
  reload(): void {
    this.#watch?.reload()
  }

  /** Closes the port and every connection to it. */
  async close(): Promise<void> {
    this.#watch?.close()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    for (const socket of this.#sockets) socket.destroy()
    await closed
  }
}
