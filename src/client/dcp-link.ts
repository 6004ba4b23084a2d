import { Backoff } from './backoff.ts'
import type { DcpSettings } from './dcp-options.ts'
import { DcpSession } from './dcp-session.ts'
import { ClientError, ServerError } from './errors.ts'

export interface LinkEvents {
  /** A connection took the place of a lost one. */
  connected(session: DcpSession): void
  /** Answers whether another connection is needed. */
  lost(): boolean
  /** There will be no further connection. */
  failed(error: Error): void
}

/** The connection of a DCP client, made again under the same name whenever it is lost. */
export class DcpLink {
  readonly #settings: DcpSettings
  readonly #events: LinkEvents
  readonly #backoff: Backoff
  #session: DcpSession | undefined
  #connecting: DcpSession | undefined
  #bytesOfPast = 0
  #reconnects = 0
  #ended = false
  #wake: (() => void) | undefined

  constructor(settings: DcpSettings, events: LinkEvents) {
    this.#settings = settings
    this.#events = events
    this.#backoff = new Backoff(settings.random, settings.reconnect || {})
  }

  /** Undefined between two connections. */
  get session(): DcpSession | undefined {
    return this.#session
  }

  get bytesReceived(): number {
    return this.#bytesOfPast + (this.#session?.bytesRead ?? 0)
  }

  get reconnects(): number {
    return this.#reconnects
  }

  /** Makes the first connection, which is not tried twice: a wrong address should be told at once. */
  open(): Promise<DcpSession> {
    return this.#connect()
  }

  /** From now on a lost connection is followed by another one. */
  follow(session: DcpSession): void {
    this.#run(session).catch((error: Error) => this.#events.failed(error))
  }

  /** The connection is of use: the next loss is a new one. */
  proven(): void {
    this.#backoff.reset()
  }

  /** Idempotent. */
  async close(goodbye: boolean): Promise<void> {
    this.#ended = true
    this.#wake?.()
    await this.#connecting?.close(false)
    await this.#session?.close(goodbye)
  }

  async #connect(): Promise<DcpSession> {
    if (this.#ended) throw new ClientError('HOLDFAST_CLOSED', 'the client was closed')
    const session = new DcpSession(this.#settings)
    this.#connecting = session
    try {
      await session.open()
      this.#session = session
      return session
    } finally {
      this.#connecting = undefined
    }
  }

  async #run(first: DcpSession): Promise<void> {
    let session: DcpSession | undefined = first
    while (session) {
      const error: ClientError | undefined = await session.closed
      this.#bytesOfPast += session.bytesRead
      this.#session = undefined
      if (this.#ended) return
      if (!this.#events.lost()) return
      const { log, name } = this.#settings
      log.warn({ name, reason: error?.message }, 'connection lost')
      session = await this.#reconnect(error)
      if (session) {
        this.#reconnects++
        log.info({ name, attempts: this.#backoff.attempts }, 'connected again')
        this.#events.connected(session)
      }
    }
  }

  async #reconnect(lost: ClientError | undefined): Promise<DcpSession | undefined> {
    const { reconnect } = this.#settings
    let error: Error = lost ?? new ClientError('HOLDFAST_CONNECTION_LOST', 'connection lost')
    while (
      !this.#ended &&
      reconnect &&
      this.#backoff.attempts < (reconnect.attemptsMax ?? Infinity)
    ) {
      await this.#pause(this.#backoff.nextMs())
      try {
        return await this.#connect()
      } catch (failure) {
        error = failure as Error
        if (error instanceof ServerError && error.retry === 'never') break
      }
    }
    if (!this.#ended) this.#events.failed(error)
    return undefined
  }

  #pause(delayMs: number): Promise<void> {
    return new Promise(resolve => {
      const timer = this.#settings.clock.after(delayMs, resolve)
      this.#wake = () => {
        timer.cancel()
        resolve()
      }
    })
  }
}
