import { once } from 'node:events'
import { join } from 'node:path'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'
import type { Frame } from '../../protocol/frame.ts'
import { FrameReader } from '../../protocol/frame-reader.ts'
import { encodeRequest, type RequestFields } from '../../protocol/requests.ts'
import { saslMechanisms } from '../../protocol/sasl/index.ts'
import type { Access, AccessOptions } from '../../src/auth/access.ts'
import { silentAudit, type AuditLog } from '../../src/auth/audit.ts'
import { systemClock, type Clock } from '../../src/clock.ts'
import { callersEndpoint, noEndpoint } from '../../src/config/endpoint.ts'
import type { DcpService } from '../../src/dcp/service.ts'
import { silentLog, type Log } from '../../src/log.ts'
import { Server, type ServerSettings } from '../../src/server/server.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import type { Buckets, BucketsOptions } from '../../src/vbucket/buckets.ts'
import { accessTo, writeUsers, type TestUser } from '../support/access.ts'
import { openBuckets } from '../support/bucket.ts'
import { ownDirectory } from '../support/own-directory.ts'

const deadlineMs = 10_000

export const testSettings: ServerSettings = {
  ack: 'memory',
  keyBytesMax: 250,
  valueBytesMax: 2 ** 20,
  frameBytesMax: 2 ** 20 + 1024,
  connectionsMax: 2000,
  outputBytesMax: 2 ** 20,
  vbuckets: 16,
  advertise: callersEndpoint,
  advertiseExternal: noEndpoint,
  saslMechanisms,
  loginTimeoutSeconds: 30,
}

/** Streams have tests of their own: here only what reaches them is looked at. */
export class ScriptedDcp {
  readonly opened: object[] = []
  readonly calls: unknown[][] = []
  closed = false
  producer: unknown

  open(request: object): unknown {
    this.opened.push(request)
    return this.producer
  }
  stats(add: (name: string, value: string) => void, group: string): void {
    add(`${group}_group`, 'here')
  }
  close(): void {
    this.closed = true
  }
}

export interface Served {
  server: Server
  /** Of its data. */
  directory: string
  access: Access
  userFile: string
  buckets: Buckets
  bucket: Bucket
  dcp: ScriptedDcp
  port: number
  /** A client; it is closed when the test ends. */
  client: () => Promise<TestClient>
}

export interface ServedOptions {
  settings?: Partial<ServerSettings>
  bucketSettings?: Partial<BucketsOptions['settings']>
  clock?: Clock
  log?: Log
  /** Without any, everybody may do everything. */
  users?: TestUser[]
  access?: Partial<AccessOptions>
  audit?: AuditLog
}

/** A server on a free port over a new data directory; all is closed when the test ends. */
export async function serve(t: Test, options: ServedOptions = {}): Promise<Served> {
  const settings = { ...testSettings, ...options.settings }
  const { clock = systemClock, log = silentLog, audit = silentAudit } = options
  const { valueBytesMax } = settings
  const directory = ownDirectory(t)
  const { buckets, bucket } = await openBuckets(t, directory, {
    settings: { valueBytesMax, ...options.bucketSettings },
    clock,
  })
  const dcp = new ScriptedDcp()
  const userFile = join(directory, 'users.json')
  if (options.users !== undefined) await writeUsers(userFile, ...options.users)
  const access = accessTo(t, { userFile, clock, log, audit, ...options.access })
  const server = new Server({
    settings,
    httpPorts: { httpPort: 8091, httpsPort: undefined },
    access,
    audit,
    buckets,
    dcp: dcp as unknown as DcpService,
    clock,
    log,
  })
  t.teardown(() => server.close({ graceMs: 0 }))
  const { port } = await server.listen('127.0.0.1', 0)
  return {
    server,
    directory,
    access,
    userFile,
    buckets,
    bucket,
    dcp,
    port,
    client: () => TestClient.connect(t, port),
  }
}

/** A connection that says what a test wants said, and hands out the answers one by one. */
export class TestClient {
  readonly socket: Socket
  readonly #reader = new FrameReader({ maxBodyBytes: 2 ** 26, skipBodyBytes: 2 ** 26 })
  readonly #frames: Frame[] = []
  #wake: (() => void) | undefined
  #closed = false

  private constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', (chunk: Buffer) => {
      this.#reader.read(chunk, frame => {
        this.#frames.push(frame.copy())
      })
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#closed = true
      this.#wake?.()
    })
  }

  /** By a socket of the test's own, which is about to connect at least. */
  static over(socket: Socket): TestClient {
    return new TestClient(socket)
  }

  static async connect(t: Test, port: number): Promise<TestClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return new TestClient(socket)
  }

  /** All in one write. */
  send(...requests: RequestFields[]): void {
    this.socket.write(Buffer.concat(requests.map(request => encodeRequest(request))))
  }

  /** The next answer. */
  async next(): Promise<Frame> {
    await this.#until(() => this.#frames.length > 0 || this.#closed)
    const frame = this.#frames.shift()
    if (frame === undefined) throw new Error('the server has closed the connection')
    return frame
  }

  async take(count: number): Promise<Frame[]> {
    const frames = []
    while (frames.length < count) frames.push(await this.next())
    return frames
  }

  async call(request: RequestFields): Promise<Frame> {
    this.send(request)
    return this.next()
  }

  /** The server closes the connection. */
  async closed(): Promise<void> {
    await this.#until(() => this.#closed)
  }

  /** Answers that have come and were not taken. */
  get waiting(): number {
    return this.#frames.length
  }

  async #until(condition: () => boolean): Promise<void> {
    await within(deadlineMs, async () => {
      while (!condition()) await new Promise<void>(resolve => (this.#wake = resolve))
    })
  }
}

/** Fails when `work` takes longer. */
export async function within<Result>(ms: number, work: () => Promise<Result>): Promise<Result> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`nothing came within ${ms} ms`)), ms)
  })
  try {
    return await Promise.race([work(), late])
  } finally {
    clearTimeout(timer)
  }
}

/** Resolves once `condition` holds, which something outside of the test's reach makes true. */
export async function eventually(condition: () => boolean): Promise<void> {
  await within(deadlineMs, async () => {
    while (!condition()) await new Promise(resolve => setImmediate(resolve))
  })
}
