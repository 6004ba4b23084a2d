import type { AddressInfo } from 'node:net'
import Fastify, { type FastifyInstance } from 'fastify'
import type { Access } from '../auth/access.ts'
import { Privilege } from '../auth/privilege.ts'
import type { Clock } from '../clock.ts'
import type { Node } from '../commands/node.ts'
import type { Log } from '../log.ts'
import type { TlsFiles } from '../server/certificate.ts'
import { version } from '../version.ts'
import { addBucketPages } from './bucket-pages.ts'
import { addCollectionPages } from './collection-pages.ts'
import {
  connectionTimes,
  limitConnections,
  serverOptionsOf,
  type ConnectionLimits,
} from './connection-limits.ts'
import { Gate } from './gate.ts'
import { HttpsListener } from './https-listener.ts'
import { MapStreams } from './map-streams.ts'
import { PageError } from './page-error.ts'
import { addPools } from './pools.ts'

export interface TlsPort {
  readonly host: string
  readonly port: number
  readonly files: TlsFiles
  readonly clock: Clock
}

/** What the operating pages tell, asked when they are. */
export interface HttpPages {
  /** Why the daemon cannot serve right now, or `undefined` when it can. */
  unreadiness(): string | undefined
  /** All metrics in Prometheus' text format. */
  metrics(): Promise<string>
  readonly metricsContentType: string
  /** Who may see them; undefined while the daemon starts. */
  access(): Access | undefined
  /** What is managed; undefined while the daemon starts. */
  node(): Node | undefined
  /** Clients that may follow cluster maps at once. */
  readonly mapStreamsMax: number
  /** Of each port. */
  readonly connectionLimits: Partial<ConnectionLimits> & Pick<ConnectionLimits, 'connectionsMax'>
}

/**
 * The port of those who operate the daemon, `/metrics`, `/healthz` (the process lives and its event
 * loop turns) and `/readyz` (it serves clients, or 503 and the reason), and of clients that find
 * out about the cluster and manage its buckets under `/pools`.
 */
export class HttpServer {
  readonly #fastify: FastifyInstance
  readonly #log: Log
  readonly #limits: ConnectionLimits
  #https: HttpsListener | undefined

  constructor(pages: HttpPages, log: Log) {
    this.#log = log
    this.#limits = { ...connectionTimes, ...pages.connectionLimits }
    this.#fastify = createServer(this.#limits)
    limitConnections(this.#fastify.server, this.#limits, log)
    this.#fastify.setErrorHandler(async (error, request, reply) => {
      if (error instanceof PageError) return reply.code(error.statusCode).send(error.body)
      const status = (error as { statusCode?: number }).statusCode ?? 500
      if (status >= 500) log.error({ error, path: request.url }, 'an HTTP page failed')
      return reply.code(status).send({ error: (error as Error).message })
    })
    this.#fastify.setNotFoundHandler(async (request, reply) =>
      reply.code(404).send({ error: `no page ${request.method} ${request.url}` }),
    )
    const gate = new Gate(() => pages.access())
    this.#fastify.addHook('onRequest', (request, reply) => gate.check(request, reply))
    addPages(this.#fastify, pages)
    const node = () => {
      const found = pages.node()
      if (found === undefined) throw new PageError(503, { error: 'starting' })
      return found
    }
    takeForms(this.#fastify)
    addPools(this.#fastify, node, new MapStreams(pages.mapStreamsMax))
    addBucketPages(this.#fastify, node)
    addCollectionPages(this.#fastify, node)
  }

  /** Starts to listen; port 0 picks a free one. */
  async listen(host: string, port: number): Promise<{ port: number }> {
    await this.#fastify.listen({ host, port })
    return { port: (this.#fastify.server.address() as AddressInfo).port }
  }

  /**
   * The same pages by TLS, until the server is closed. Fails with an OperatorError for files it
   * cannot use.
   */
  async listenByTls({ host, port, files, clock }: TlsPort): Promise<{ port: number }> {
    await this.#fastify.ready()
    this.#https = new HttpsListener({
      limits: this.#limits,
      files,
      clock,
      log: this.#log,
      handle: (request, response) => this.#fastify.routing(request, response),
    })
    return await this.#https.listen(host, port)
  }

  /** Takes a new certificate at once, rather than when it is noticed. */
  reloadCertificate(): void {
    this.#https?.reload()
  }

  /** Closes the ports and every connection to them. */
  async close(): Promise<void> {
    await this.#https?.close()
    await this.#fastify.close()
  }
}

function createServer(limits: ConnectionLimits): FastifyInstance {
  return Fastify({
    logger: false,
    forceCloseConnections: true,
    bodyLimit: 64 * 1024,
    connectionTimeout: limits.connectionTimeoutMs,
    requestTimeout: limits.requestTimeoutMs,
    keepAliveTimeout: limits.keepAliveTimeoutMs,
    http: serverOptionsOf(limits),
  })
}

function takeForms(fastify: FastifyInstance): void {
  const type = 'application/x-www-form-urlencoded'
  fastify.addContentTypeParser(type, { parseAs: 'string' }, (_request, body, done) => {
    done(null, Object.fromEntries(new URLSearchParams(body.toString())))
  })
}

const open = { config: { rights: 'open' } } as const

function addPages(fastify: FastifyInstance, pages: HttpPages): void {
  fastify.get('/', open, async () => ({ name: 'holdfast', version }))
  fastify.get('/healthz', open, async () => ({ status: 'ok' }))
  fastify.get('/readyz', open, async (_request, reply) => {
    const reason = pages.unreadiness()
    if (reason === undefined) return { status: 'ready' }
    return reply.code(503).send({ status: 'not ready', reason })
  })
  fastify.get('/metrics', { config: { rights: Privilege.stats } }, async (_request, reply) =>
    reply.type(pages.metricsContentType).send(await pages.metrics()),
  )
}
