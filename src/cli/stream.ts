import { randomUUID } from 'node:crypto'
import { isChange, isSystemEvent } from '../client/change.ts'
import { DcpClient } from '../client/dcp-client.ts'
import type { CollectionSelection, DcpClientOptions, DcpEvent } from '../client/index.ts'
import { silentLog } from '../log.ts'
import { changeLine, rollbackLine, systemEventLine } from './change-line.ts'
import { accessOf, type Target } from './command-options.ts'
import { LineWriter } from './line-writer.ts'
import { readResumeFile, writeResumeFile } from './resume-file.ts'
import type { Surroundings } from './surroundings.ts'

export interface StreamOptions extends Target {
  vbuckets?: number[]
  fromNow?: boolean
  untilNow?: boolean
  resumeFile?: string
  keysOnly?: boolean
  collection?: readonly string[]
  scope?: string
  allCollections?: boolean
  name?: string
}

const saveIntervalMs = 1_000
const bufferBytes = 20 * 1024 * 1024
/** Saved earlier if this much waits for it: the server sends no more than the buffer ahead. */
const unsavedBytesMax = bufferBytes / 4

/**
 * Prints the changes of a bucket as lines of JSON, until the end asked for or until stopped. With a
 * resume file, the server is told that a change was consumed only when the file says so: until
 * then it keeps what it would take to send it again.
 */
export async function streamChanges(options: StreamOptions, world: Surroundings): Promise<void> {
  const { resumeFile } = options
  const resumption = resumeFile === undefined ? undefined : readResumeFile(resumeFile)
  const name = options.name ?? resumption?.name ?? `holdfast-stream-${randomUUID()}`
  const stopping = new AbortController()
  const stop = () => stopping.abort()
  const writer = new LineWriter(world.stdout, stop)
  world.onStop(stop)

  const client = await DcpClient.connect({
    ...clientOptions(options, name, resumption?.state, world),
    onRollback: async (vbid, seqno) => {
      await writer.write(rollbackLine(vbid, seqno))
      return 'accept' as const
    },
  })
  stopping.signal.addEventListener('abort', () => {
    writer.release()
    // Whoever has a resume file means to come back.
    client.close({ release: resumeFile === undefined }).catch(() => {})
  })
  if (stopping.signal.aborted) await client.close()
  let saver: Saver | undefined
  try {
    if (resumeFile !== undefined) saver = new Saver(client, writer, resumeFile, name)
    const line = linesOf(options)
    for await (const event of client.events()) {
      saver?.begin()
      const text = line(event)
      const pause = text === undefined ? undefined : writer.write(text)
      if (pause) await pause
      saver?.finish()
    }
  } finally {
    await finish(client, writer, saver)
  }
}

/** Which line, if any, there is to be printed for what comes. */
function linesOf(options: StreamOptions): (event: DcpEvent) => string | undefined {
  const keysOnly = options.keysOnly ?? false
  const namesCollections = selectionOf(options) !== undefined
  return event => {
    if (isChange(event)) return changeLine(event, { keysOnly, namesCollections })
    return isSystemEvent(event) ? systemEventLine(event) : undefined
  }
}

function selectionOf(options: StreamOptions): CollectionSelection | undefined {
  const { collection, scope, allCollections } = options
  if (allCollections) return 'all'
  return scope === undefined ? collection : { scope }
}

/** The last lines leave, then the file says so, then the server may forget us. */
async function finish(client: DcpClient, writer: LineWriter, saver: Saver | undefined) {
  try {
    await writer.end()
    saver?.close()
  } finally {
    await client.close({ release: true })
  }
}

function clientOptions(
  options: StreamOptions,
  name: string,
  state: unknown,
  world: Surroundings,
): DcpClientOptions {
  const { bucket, vbuckets, fromNow, untilNow, resumeFile, keysOnly } = options
  const collections = selectionOf(options)
  return {
    bucket,
    name,
    bufferBytes,
    acknowledgement: resumeFile === undefined ? 'auto' : 'manual',
    keysOnly: keysOnly ?? false,
    log: { ...silentLog, info: tell(world), warn: tell(world) },
    ...accessOf(options, world.env),
    ...(collections === undefined ? {} : { collections }),
    ...(vbuckets === undefined ? {} : { vbuckets }),
    ...(fromNow ? { from: 'now' } : {}),
    ...(untilNow ? { until: 'now' } : {}),
    ...(state === undefined ? {} : { state }),
  }
}

/** Losses and returns of the connection are worth a line to whoever watches. */
function tell({ stderr }: Surroundings) {
  return (fields: object, message: string) => {
    const details = Object.entries(fields).filter(([name]) => name !== 'name')
    const text = details.map(([name, value]) => `${name}: ${String(value)}`).join(', ')
    stderr.write(`holdfast: ${message}${text && ` (${text})`}\n`)
  }
}

/**
 * Keeps the resume file up to date: once a second, at the end, and whenever much waits for it. Only
 * ever between two changes, and only when their lines have left.
 */
class Saver {
  readonly #client: DcpClient
  readonly #writer: LineWriter
  readonly #path: string
  readonly #name: string
  readonly #timer: NodeJS.Timeout
  #inHand = false
  #saved = ''
  #failure: unknown

  constructor(client: DcpClient, writer: LineWriter, path: string, name: string) {
    this.#client = client
    this.#writer = writer
    this.#path = path
    this.#name = name
    this.#save()
    this.#timer = setInterval(() => this.#attempt(), saveIntervalMs)
  }

  begin(): void {
    if (this.#failure !== undefined) throw this.#failure
    this.#inHand = true
  }

  finish(): void {
    this.#inHand = false
    if (this.#client.unacknowledgedBytes < unsavedBytesMax) return
    this.#writer.flush()
    this.#save()
  }

  close(): void {
    clearInterval(this.#timer)
    if (this.#failure !== undefined) throw this.#failure
    this.#save()
  }

  /** From the timer, where nobody could catch: the error waits for the next change or the end. */
  #attempt(): void {
    try {
      this.#save()
    } catch (error) {
      this.#failure = error
      clearInterval(this.#timer)
      this.#client.close().catch(() => {})
    }
  }

  #save(): void {
    if (this.#inHand || !this.#writer.flushed) return
    const state = this.#client.state()
    const text = JSON.stringify(state)
    if (text !== this.#saved) writeResumeFile(this.#path, this.#name, state)
    this.#saved = text
    this.#client.acknowledge()
  }
}
