/**
 * Accepts clients by TLS: 1.2 or newer, with ciphers that keep past traffic secret when the key is
 * lost. The certificate is read again when its files change; what cannot be read leaves the one
 * before in place, for new connections too.
 */
import { constants } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import type { AddressInfo, Socket } from 'node:net'
import {
  createSecureContext,
  createServer,
  type SecureContextOptions,
  type Server as TlsServer,
  type TLSSocket,
} from 'node:tls'
import type { Access } from '../auth/access.ts'
import { FilePoll } from '../auth/file-poll.ts'
import type { Identity } from '../auth/identity.ts'
import type { Clock } from '../clock.ts'
import { OperatorError } from '../errors.ts'
import type { Log } from '../log.ts'
import { certificateNames } from './certificate-names.ts'

export interface TlsFiles {
  readonly certificate: string
  readonly key: string
  /** Who signs the certificates that clients may log in with; undefined: they may not. */
  readonly clientCa: string | undefined
}

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

const ciphers = [
  'TLS_AES_256_GCM_SHA384',
  'TLS_CHACHA20_POLY1305_SHA256',
  'TLS_AES_128_GCM_SHA256',
  'ECDHE-ECDSA-AES256-GCM-SHA384',
  'ECDHE-RSA-AES256-GCM-SHA384',
  'ECDHE-ECDSA-CHACHA20-POLY1305',
  'ECDHE-RSA-CHACHA20-POLY1305',
  'ECDHE-ECDSA-AES128-GCM-SHA256',
  'ECDHE-RSA-AES128-GCM-SHA256',
].join(':')

export class TlsListener {
  readonly #options: TlsListenerOptions
  readonly #server: TlsServer
  /** Under the TLS sockets, and of clients that have not got that far. */
  readonly #sockets = new Set<Socket>()
  #poll: FilePoll | undefined

  /** Fails with an OperatorError if the files cannot be used. */
  constructor(options: TlsListenerOptions) {
    this.#options = options
    const { files, connectionsMax, handshakeTimeoutMs } = options
    this.#server = createServer({
      ...readContext(files),
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
    const paths = [files.certificate, files.key, files.clientCa].filter(path => path !== undefined)
    this.#poll = new FilePoll(paths, clock, () => this.reload())
    return { port: (this.#server.address() as AddressInfo).port }
  }

  /** Takes what the files hold now for connections from here on. */
  reload(): void {
    const { files, log } = this.#options
    try {
      this.#server.setSecureContext(readContext(files))
      log.info({ certificate: files.certificate }, 'certificate read again')
    } catch (err) {
      log.error({ err }, 'the certificate cannot be used: the one before goes on to be')
    }
  }

  /** Accepts nobody any more. */
  close(): void {
    this.#poll?.close()
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
    const names = certificateNames(socket.getPeerCertificate())
    if (names === undefined) return accept(socket, undefined)
    const identity = socket.authorized
      ? names.map(name => access.identityOf(name)).find(known => known !== undefined)
      : undefined
    if (identity !== undefined) return accept(socket, identity)
    const origin = { address: socket.remoteAddress ?? '', via: 'kv-tls' } as const
    const reason = socket.authorized ? 'no such user' : String(socket.authorizationError)
    access.failedByCertificate(names, reason, origin)
    socket.on('error', () => {})
    socket.destroy()
  }
}

function readContext({ certificate, key, clientCa }: TlsFiles): SecureContextOptions {
  try {
    const context: SecureContextOptions = {
      cert: readFileSync(certificate),
      key: readFileSync(key),
      ...(clientCa === undefined ? {} : { ca: readFileSync(clientCa) }),
      minVersion: 'TLSv1.2',
      ciphers,
      honorCipherOrder: true,
      // A resumed session would bring a client's certificate along that may be trusted no more.
      ...(clientCa === undefined ? {} : { secureOptions: constants.SSL_OP_NO_TICKET }),
    }
    createSecureContext(context)
    return context
  } catch (error) {
    const { message } = error as Error
    const hint = 'see that the certificate and its key are PEM, belong together and are readable'
    throw new OperatorError('tls-unusable', `TLS: ${message}`, hint, { cause: error })
  }
}
