import { resolve } from 'node:path'
import { Access } from './auth/access.ts'
import type { AuditLog } from './auth/audit.ts'
import { makeFirstUser } from './auth/first-user.ts'
import { userFileIn } from './auth/user-file.ts'
import type { Clock } from './clock.ts'
import type { Node } from './commands/node.ts'
import { noFile } from './config/kinds.ts'
import { isLoopback } from './config/loopback.ts'
import type { Settings } from './config/settings.ts'
import { DcpService } from './dcp/service.ts'
import { OperatorError } from './errors.ts'
import { HttpServer } from './http/http-server.ts'
import type { Log } from './log.ts'
import { AuditFile } from './logging/audit-log.ts'
import { registerAccess } from './metrics/access.ts'
import { registerBuckets } from './metrics/buckets.ts'
import { registerOperations } from './metrics/operations.ts'
import { MetricsRegistry } from './metrics/registry.ts'
import { registerStreams } from './metrics/streams.ts'
import type { Random } from './random.ts'
import type { TlsFiles } from './server/certificate.ts'
import { Server } from './server/server.ts'
import { Buckets } from './vbucket/buckets.ts'
import { version } from './version.ts'

/** What a daemon takes from the world, besides its settings. */
export interface Surroundings {
  readonly log: Log
  readonly clock: Clock
  readonly random: Random
  /** Of the first user, if there is none yet; otherwise it is made up where one is needed. */
  readonly adminPassword?: string | undefined
  /** Tells the person who starts the daemon what is written down nowhere. */
  readonly tell?: (sentence: string) => void
}

/** A daemon that serves. */
export interface Daemon {
  /** Undefined where it is not served. */
  readonly port: number | undefined
  readonly tlsPort: number | undefined
  readonly httpPort: number | undefined
  readonly httpsPort: number | undefined
  /** Stops from the top down: nothing new, last answers, everything on disk. Idempotent. */
  close(): Promise<void>
}

/**
 * Builds a daemon from the bottom up. It is the only place that knows every part. Should one fail
 * to start, those before it are closed again and the promise is rejected, for reasons a person can
 * mend with an `OperatorError`.
 */
export async function startDaemon(settings: Settings, surroundings: Surroundings): Promise<Daemon> {
  const { log } = surroundings
  const parts = new Parts()
  try {
    const daemon = await startParts(settings, surroundings, parts)
    log.info({ version, ...daemon, data: settings.data }, 'ready')
    return { ...daemon, close: () => parts.close() }
  } catch (error) {
    // The person who starts it is told in a sentence; what is behind it is for the log.
    if (error instanceof Error && error.cause !== undefined) {
      log.error({ cause: error.cause }, 'cannot start')
    }
    await parts.close()
    throw error
  }
}

async function startParts(settings: Settings, surroundings: Surroundings, parts: Parts) {
  const { log, clock, random } = surroundings
  const registry = new MetricsRegistry()
  // First up and last down, so that it can say "starting" and "stopping".
  const state: State = { isStopping: false, access: undefined, node: undefined }
  const http = new HttpServer(
    {
      unreadiness: () => unreadiness(state),
      access: () => state.access,
      metrics: () => registry.text(),
      metricsContentType: registry.contentType,
      node: () => state.node,
      mapStreamsMax: settings.mapStreamsMax,
      connectionLimits: { connectionsMax: settings.httpConnectionsMax },
    },
    log,
  )
  parts.opened(() => http.close())
  const httpPorts = await listenForPages(http, settings, clock)

  const buckets = await Buckets.open({ directory: settings.data, settings, clock, random, log })
  parts.opened(() => buckets.close())
  registerBuckets(registry, () => buckets.list())

  const audit = new AuditFile(resolve(settings.data, settings.auditLog))
  parts.opened(() => audit.close())
  const access = await openAccess(settings, surroundings, audit)
  parts.opened(() => access.close())
  state.access = access
  registerAccess(registry, access)

  const dcp = new DcpService({ settings, clock, random, log })
  parts.opened(() => dcp.close())
  registerStreams(registry, dcp)

  const server = new Server({ settings, httpPorts, buckets, dcp, access, audit, clock, log })
  parts.opened(async () => {
    state.isStopping = true
    await server.close({ graceMs: settings.stopGraceSeconds * 1000 })
  })
  registerOperations(registry, server)
  const { port, tlsPort } = await listenForClients(server, settings)
  state.node = server.node
  return { port, tlsPort, ...httpPorts }
}

interface State {
  isStopping: boolean
  /** Once the users are known. */
  access: Access | undefined
  /** Once it serves. */
  node: Node | undefined
}

async function listenForClients(server: Server, settings: Settings) {
  const { host } = settings
  const found: { port: number | undefined; tlsPort: number | undefined } = {
    port: undefined,
    tlsPort: undefined,
  }
  if (settings.port !== 'off') {
    found.port = await listening(server.listen(host, settings.port), 'port')
  }
  if (settings.tlsPort !== 'off') {
    const attempt = server.listenByTls(host, settings.tlsPort, tlsFiles(settings))
    found.tlsPort = await listening(attempt, 'tls-port')
  }
  return found
}

async function listenForPages(http: HttpServer, settings: Settings, clock: Clock) {
  const { host, httpPort, httpsPort } = settings
  const found: { httpPort: number | undefined; httpsPort: number | undefined } = {
    httpPort: undefined,
    httpsPort: undefined,
  }
  if (httpPort !== 'off') found.httpPort = await listening(http.listen(host, httpPort), 'http-port')
  if (httpsPort !== 'off') {
    const attempt = http.listenByTls({ host, port: httpsPort, files: tlsFiles(settings), clock })
    found.httpsPort = await listening(attempt, 'https-port')
  }
  return found
}

function tlsFiles({ tlsCertificate: certificate, tlsKey: key, tlsClientCa }: Settings): TlsFiles {
  return { certificate, key, clientCa: tlsClientCa === noFile ? undefined : tlsClientCa }
}

/** Reads the users, and makes the first one where somebody has to be able to log in. */
async function openAccess(
  settings: Settings,
  { clock, log, adminPassword, tell }: Surroundings,
  audit: AuditLog,
): Promise<Access> {
  const userFile = userFileIn(settings.data)
  const { noAuth, host } = settings
  const openWithoutUsers = isLoopback(host)
  const access = new Access({ userFile, noAuth, openWithoutUsers, clock, log, audit })
  const needsUser = !noAuth && !(openWithoutUsers && adminPassword === undefined)
  if (needsUser && !access.hasUserFile) {
    const { name, madeUpPassword } = await makeFirstUser(userFile, adminPassword)
    access.reload()
    if (madeUpPassword !== undefined) {
      tell?.(`first user ${name}, password ${madeUpPassword} (told only this once)`)
    }
  }
  access.watch()
  return access
}

/** Why clients are not served right now. */
function unreadiness({ isStopping, node }: State): string | undefined {
  if (isStopping) return 'stopping'
  if (node === undefined) return 'starting'
  const failing = node.buckets.list().find(bucket => bucket.failure !== undefined)
  return failing && `bucket ${failing.name}: ${failing.failure!.message} [${failing.failure!.code}]`
}

/** What has been opened, to be closed in the opposite order. */
class Parts {
  readonly #closers: (() => Promise<void> | void)[] = []
  #closed: Promise<void> | undefined

  opened(close: () => Promise<void> | void): void {
    this.#closers.push(close)
  }

  close(): Promise<void> {
    this.#closed ??= this.#closeAll()
    return this.#closed
  }

  async #closeAll(): Promise<void> {
    const failures: unknown[] = []
    for (const close of this.#closers.reverse()) {
      try {
        await close()
      } catch (error) {
        // Those below it are closed all the same.
        failures.push(error)
      }
    }
    if (failures.length > 0) throw failures[0]
  }
}

const listenHints = new Map([
  ['EADDRINUSE', ['port-in-use', 'stop what listens there, or choose another one with']],
  ['EACCES', ['port-forbidden', 'choose one above 1023 with']],
  ['EADDRNOTAVAIL', ['address-unknown', 'choose an address of this machine with --host, not']],
])

/** The port that is listened at, or an error that names the option to change. */
async function listening(attempt: Promise<{ port: number }>, flag: string): Promise<number> {
  try {
    return (await attempt).port
  } catch (cause) {
    if (cause instanceof OperatorError) throw cause
    const { code = '', message } = cause as NodeJS.ErrnoException
    const [name, hint] = listenHints.get(code) ?? ['cannot-listen', 'choose another one with']
    throw new OperatorError(name!, message, `${hint} --${flag}`)
  }
}
