/**
 * The certificate that TLS ports show, with what goes by it: TLS 1.2 or newer, and ciphers that keep
 * past traffic secret when the key is lost. It is read again when its files change; what cannot be
 * read leaves the one before in place, for new connections too.
 */
import { constants } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createSecureContext, type SecureContextOptions, type Server as TlsServer } from 'node:tls'
import { FilePoll } from '../auth/file-poll.ts'
import type { Clock } from '../clock.ts'
import { OperatorError } from '../errors.ts'
import type { Log } from '../log.ts'

export interface TlsFiles {
  readonly certificate: string
  readonly key: string
  /** Who signs the certificates that clients may log in with; undefined: they may not. */
  readonly clientCa: string | undefined
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

/** For a server. Fails with an OperatorError if the files cannot be used. */
export function readCertificate({ certificate, key, clientCa }: TlsFiles): SecureContextOptions {
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

export interface CertificateWatchOptions {
  readonly server: Pick<TlsServer, 'setSecureContext'>
  readonly files: TlsFiles
  readonly clock: Clock
  readonly log: Log
}

/** Gives a server what its files hold now, from when it is made until it is closed. */
export class CertificateWatch {
  readonly #options: CertificateWatchOptions
  readonly #poll: FilePoll

  constructor(options: CertificateWatchOptions) {
    this.#options = options
    const { certificate, key, clientCa } = options.files
    const paths = [certificate, key, clientCa].filter(path => path !== undefined)
    this.#poll = new FilePoll(paths, options.clock, () => this.reload())
  }

  /** Takes what the files hold now for connections from here on. */
  reload(): void {
    const { server, files, log } = this.#options
    try {
      server.setSecureContext(readCertificate(files))
      log.info({ certificate: files.certificate }, 'certificate read again')
    } catch (err) {
      log.error({ err }, 'the certificate cannot be used: the one before goes on to be')
    }
  }

  close(): void {
    this.#poll.close()
  }
}
