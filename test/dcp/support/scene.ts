import type { Test } from 'tap'
import { Status } from '../../../protocol/status.ts'
import { DcpOpenFlag } from '../../../protocol/dcp/open.ts'
import type { StreamRequest } from '../../../protocol/dcp/stream-request.ts'
import type { Producer } from '../../../src/dcp/producer.ts'
import { DcpService } from '../../../src/dcp/service.ts'
import type { DcpSettings } from '../../../src/dcp/settings.ts'
import type { StreamAnswer } from '../../../src/dcp/stream-answer.ts'
import type { Log } from '../../../src/log.ts'
import { systemRandom } from '../../../src/random.ts'
import type { Bucket } from '../../../src/vbucket/bucket.ts'
import type { Buckets } from '../../../src/vbucket/buckets.ts'
import type { Vbucket } from '../../../src/vbucket/vbucket.ts'
import { committed, documentKey, openBuckets, remove, set } from '../../support/bucket.ts'
import { ownDirectory } from '../../support/own-directory.ts'
import { Consumer } from './consumer.ts'
import { FakeOutput } from './fake-output.ts'
import { ManualClock } from './manual-clock.ts'
import { testSettings } from './settings.ts'

export interface Line {
  level: string
  message: string
  fields: Record<string, unknown>
}

export interface Link {
  producer: Producer
  output: FakeOutput
  consumer: Consumer
}

export interface ConnectOptions {
  name?: string
  user?: string
  /** Knows of collections. */
  isAware?: boolean
  flags?: number
  controls?: Record<string, string>
  /** HELLO granted compressed values. */
  snappy?: boolean
  consumer?: Consumer
}

let connections = 0

/** A bucket on disk, the service, and a clock that both go by. */
export class Scene {
  readonly clock: ManualClock
  readonly bucket: Bucket
  readonly service: DcpService
  readonly lines: Line[]

  readonly #buckets: Buckets

  constructor(clock: ManualClock, buckets: Buckets, service: DcpService, lines: Line[]) {
    this.clock = clock
    this.#buckets = buckets
    this.bucket = buckets.get('default')!
    this.service = service
    this.lines = lines
  }

  vbucket(vbid: number): Vbucket {
    return this.bucket.vbucket(vbid)!
  }

  set(vbid: number, key: string, value: string): number {
    this.keys(vbid).add(key)
    return set(this.bucket, this.vbucket(vbid), key, value)
  }

  remove(vbid: number, key: string): number {
    return remove(this.bucket, this.vbucket(vbid), key)
  }

  /** `count` documents, of which every `deleteEvery`th is deleted again. */
  fill(vbid: number, count: number, options: { prefix?: string; deleteEvery?: number } = {}): void {
    const { prefix = 'key', deleteEvery = Infinity } = options
    for (let i = 0; i < count; i++) {
      this.set(vbid, `${prefix}-${i}`, `value of ${prefix}-${i} ${'.'.repeat(100)}`)
    }
    for (let i = 0; i < count; i += deleteEvery) if (i > 0) this.remove(vbid, `${prefix}-${i}`)
  }

  /** Everything so far is on disk and no longer in memory. */
  async toDisk(): Promise<void> {
    await committed(this.bucket)
    // The log keeps what it may; other vbuckets' changes push ours out.
    for (let i = 0; i < 12; i++) this.set(15, `filler-${i % 3}`, 'x'.repeat(14_000))
    await committed(this.bucket)
  }

  /** Every tombstone that nobody holds goes. */
  purge(vbid: number): Promise<void> {
    return this.bucket.compact(vbid, {
      purgeBeforeSeconds: 0,
      purgeBeforeSeqno: 0,
      dropDeletes: true,
    })
  }

  documents(vbid: number): Map<string, string> {
    const documents = new Map<string, string>()
    const vbucket = this.vbucket(vbid)
    for (const key of this.keys(vbid)) {
      const bytes = documentKey(key)
      const record = this.bucket.documents.get(vbucket, bytes, 0, bytes.length)
      if (record !== undefined) documents.set(key, record.value().toString())
    }
    return documents
  }

  readonly #keys = new Map<number, Set<string>>()

  keys(vbid: number): Set<string> {
    let keys = this.#keys.get(vbid)
    if (keys === undefined) this.#keys.set(vbid, (keys = new Set()))
    return keys
  }

  /** What a clean stop of the daemon does. */
  async close(): Promise<void> {
    this.service.close()
    await this.#buckets.close()
  }

  connect(options: ConnectOptions = {}): Link {
    const { name = 'client', user = 'user', isAware = false, flags = 0 } = options
    const { controls = {}, snappy = false } = options
    const consumer = options.consumer ?? new Consumer()
    consumer.reconnect()
    const output = new FakeOutput()
    output.deliver = bytes => consumer.read(bytes)
    const producer = this.service.open({
      name,
      user,
      bucket: this.bucket,
      isAware,
      flags: DcpOpenFlag.producer | flags,
      value: '',
      snappy,
      output,
      connectionId: ++connections,
    })
    for (const [key, value] of Object.entries(controls)) {
      const status = producer.control(key, value)
      if (status !== Status.success) throw new Error(`control ${key} = ${value}: ${status}`)
    }
    return { producer, output, consumer }
  }

  /** Asks for a stream from where the consumer is, and returns the status. */
  async stream(link: Link, vbid: number, more: Partial<StreamRequest> = {}): Promise<Status> {
    const { status } = await this.request(link, vbid, more)
    return status
  }

  /** The same, for who wants to see all of the answer. */
  request(link: Link, vbid: number, more: Partial<StreamRequest> = {}): Promise<StreamAnswer> {
    const { producer, consumer } = link
    return new Promise((resolve, fail) => {
      const reply = (answer: StreamAnswer) => {
        // At once: frames may come right behind it.
        if (answer.status === Status.success) consumer.accepted(vbid, answer.value)
        resolve(answer)
      }
      producer.streamRequest(consumer.request(vbid, more), { reply, fail })
    })
  }

  logged(message: string): Line[] {
    return this.lines.filter(line => line.message === message)
  }

  statistics(group: 'dcp' | 'parked'): Map<string, string | number> {
    const found = new Map<string, string | number>()
    this.service.stats((key, value) => found.set(key, value), group)
    return found
  }
}

export async function openScene(
  t: Test,
  settings: Partial<DcpSettings> = {},
  directory: string = ownDirectory(t),
): Promise<Scene> {
  const clock = new ManualClock()
  // So little is kept in memory that a stream has to go to the disk for anything older.
  const { buckets } = await openBuckets(t, directory, {
    settings: { changeLogBytes: 48 * 1024 },
    clock,
    segmentBytes: 16 * 1024,
  })
  const lines: Line[] = []
  const service = new DcpService({
    clock,
    random: systemRandom,
    log: logInto(lines),
    settings: { ...testSettings, ...settings },
  })
  t.teardown(() => service.close())
  return new Scene(clock, buckets, service, lines)
}

/** Resolves when `condition` holds; fails after a while, naming what was waited for. */
export async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = performance.now() + 20_000
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`waited in vain until ${what}`)
    await new Promise(resolve => setImmediate(resolve))
  }
}

/** Enough turns of the event loop for anything that is ready to happen. */
export async function quiet(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await new Promise(resolve => setImmediate(resolve))
}

function logInto(lines: Line[]): Log {
  const at = (level: string, bound: object) => (fields: object, message: string) =>
    void lines.push({ level, message, fields: { ...bound, ...fields } })
  const log = (bound: object): Log => ({
    debug: at('debug', bound),
    info: at('info', bound),
    warn: at('warn', bound),
    error: at('error', bound),
    child: more => log({ ...bound, ...more }),
  })
  return log({})
}
