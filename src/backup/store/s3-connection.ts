import { setMaxListeners } from 'node:events'
import { S3Client, type S3ClientConfig } from '@aws-sdk/client-s3'
import { clientClock } from '../../client/client-clock.ts'
import { Backoff } from '../../client/index.ts'
import { systemRandom } from '../../random.ts'
import { BackupError } from '../errors.ts'
import { pause } from '../pause.ts'
import type { Throttle } from '../throttle.ts'
import { isExpired, mayPass, noteOperation } from './s3-errors.ts'

export interface S3Options {
  /** Of a store that is not Amazon's; else as the SDK finds it in the environment. */
  endpoint?: string | undefined
  region?: string | undefined
  /** `http://host/bucket/key` rather than `http://bucket.host/key`. */
  pathStyle?: boolean | undefined
  /** Of every attempt of every request. */
  requests?: Throttle | undefined
}

/** Of a request that the store cannot take now: with the pauses between them, half a minute. */
const attemptsMax = 10
/** Of one whose credentials have expired, and of one whose answer is not whole. */
const furtherAttemptsMax = 6
const furtherPauses = { firstMs: 100, maxMs: 5_000 }
const connectTimeoutMs = 10_000
/** Of silence; a store may think for minutes before it says that an upload is completed. */
const answerTimeoutMs = 300_000

type Send = S3Client['send']

/**
 * Requests to one S3, repeated with pauses for as long as that may help, and not for ever. The SDK does
 * so when the store is busy or cannot be reached; here is what it leaves to others.
 */
export class S3Connection {
  readonly #options: S3Options
  readonly #closing = new AbortController()
  #client: S3Client

  constructor(options: S3Options) {
    this.#options = options
    // One for each request on its way.
    setMaxListeners(0, this.#closing.signal)
    this.#client = this.#newClient()
  }

  /** When credentials have expired they are looked for again: others may have renewed them. */
  readonly send: Send = (async (command: Parameters<Send>[0]) => {
    const { signal } = this.#closing
    return await this.#repeated(isExpired, async attempt => {
      if (attempt > 0) this.#renew()
      try {
        return await this.#client.send(command, { abortSignal: signal })
      } catch (error) {
        noteOperation(error, command)
        throw error
      }
    })
  }) as Send

  /** Repeats what sends a request and takes the answer: it may be cut off behind its head. */
  async taken<T>(work: () => Promise<T>): Promise<T> {
    return await this.#repeated(error => mayPass(error) && !wasRepeated(error), work)
  }

  /** Whatever is on its way is given up. */
  close(): void {
    this.#closing.abort()
    this.#client.destroy()
  }

  get isClosed(): boolean {
    return this.#closing.signal.aborted
  }

  async #repeated<T>(
    mayHelp: (error: unknown) => boolean,
    work: (attempt: number) => Promise<T>,
  ): Promise<T> {
    const backoff = new Backoff(systemRandom, furtherPauses)
    for (;;) {
      try {
        return await work(backoff.attempts)
      } catch (error) {
        if (!mayHelp(error) || backoff.attempts >= furtherAttemptsMax || this.isClosed) throw error
      }
      await pause(clientClock, backoff.nextMs(), this.#closing.signal)
    }
  }

  /** Requests on their way keep the old client; connections are those of the one and the other. */
  #renew(): void {
    const { requestHandler } = this.#client.config
    this.#client = this.#newClient({ requestHandler, ...rereadFiles })
  }

  #newClient(more: Partial<S3ClientConfig> = {}): S3Client {
    const { endpoint, region, pathStyle, requests } = this.#options
    const client = new S3Client({
      ...(endpoint === undefined ? {} : { endpoint, region: region ?? 'us-east-1' }),
      ...(region === undefined ? {} : { region }),
      forcePathStyle: pathStyle ?? false,
      // Whoever knows better says so as to all of Amazon's tools.
      ...(process.env['AWS_MAX_ATTEMPTS'] ? {} : { maxAttempts: attemptsMax }),
      requestChecksumCalculation: 'WHEN_REQUIRED',
      responseChecksumValidation: 'WHEN_REQUIRED',
      requestHandler: { connectionTimeout: connectTimeoutMs, requestTimeout: answerTimeoutMs },
      ...more,
    })
    if (requests) this.#limit(client, requests)
    return client
  }

  /** Behind the SDK's own retries, so that these wait for their turn, too. */
  #limit(client: S3Client, requests: Throttle): void {
    client.middlewareStack.add(
      next => async request => {
        await requests.take(1, this.#closing.signal)
        return await next(request)
      },
      { step: 'finalizeRequest', priority: 'low', name: 'holdfastThrottle' },
    )
  }
}

/** Goes on to the SDK's providers of credentials, which else remember what a file said. */
const rereadFiles = { ignoreCache: true } as Partial<S3ClientConfig>

/** What an answer has to have. One without it says nothing, though its status be 200. */
export function demanded<T>(value: T | undefined, what: string): T {
  if (value !== undefined && value !== '') return value
  throw new BackupError('store', `the store answered without ${what}`, { mayPass: true })
}

/** The SDK has tried that often enough. */
function wasRepeated(error: unknown): boolean {
  return ((error as { $metadata?: { attempts?: number } }).$metadata?.attempts ?? 0) > 0
}
