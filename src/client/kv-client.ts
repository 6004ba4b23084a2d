import {
  counterExpiryNoCreate,
  decodeCounterValue,
  decodeFlagsExtras,
  decodeMeta,
  decodeMutationToken,
  encodeCounterExtras,
  encodeGetMetaVersion,
  encodeStoreExtras,
  encodeUint32Extras,
  encodeWithMeta,
  GetMetaVersion,
} from '../../protocol/commands/index.ts'
import { uint64High, uint64Low } from '../../protocol/bytes.ts'
import type { Frame } from '../../protocol/frame.ts'
import { DurabilityLevel, encodeRequestFraming } from '../../protocol/framing.ts'
import { Feature } from '../../protocol/feature.ts'
import { vbucketOf } from '../../protocol/key-hash.ts'
import { leb128Length, writeLeb128 } from '../../protocol/leb128.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { CollectionIds } from './collection-ids.ts'
import type { Connection } from './connection.ts'
import { ServerError } from './errors.ts'
import { expectSuccess } from './handshake.ts'
import type {
  CounterOptions,
  CounterResult,
  Document,
  DocumentMeta,
  Key,
  KvClientOptions,
  MutationOptions,
  MutationResult,
  RequestOptions,
  StoreOptions,
  WithMetaOptions,
} from './kv-options.ts'
import { NodeClient, present } from './node-client.ts'

/**
 * Documents of one bucket on one node, over one connection. All requests are pipelined; to have
 * many on their way, do not await each before the next. A miss is `undefined` where a method reads,
 * and a `ServerError` with status `keyNotFound` where it changes something.
 */
export class KvClient extends NodeClient {
  #vbucketCount = 1
  readonly #collections: CollectionIds | undefined

  static async connect(options: KvClientOptions = {}): Promise<KvClient> {
    const client = new KvClient(...(await NodeClient.introduce(options)))
    try {
      client.#vbucketCount = options.vbucketCount ?? (await client.#askVbucketCount())
      return client
    } catch (error) {
      client.destroy()
      throw error
    }
  }

  private constructor(connection: Connection, features: ReadonlySet<number>) {
    super(connection, features)
    const hasCollections = features.has(Feature.collections)
    this.#collections = hasCollections
      ? new CollectionIds(path => this.collectionId(path))
      : undefined
  }

  get vbucketCount(): number {
    return this.#vbucketCount
  }

  vbucketOf(key: Key): number {
    return vbucketOf(key, this.#vbucketCount)
  }

  get(key: Key, options: RequestOptions = {}): Promise<Document | undefined> {
    return this.#read({ opcode: Opcode.get, key }, options)
  }

  /** Reads a document and gives it a new expiry. */
  getAndTouch(key: Key, expiry: number, options: RequestOptions = {}) {
    const extras = encodeUint32Extras(expiry)
    return this.#read({ opcode: Opcode.gat, key, extras }, options)
  }

  /** Until `unlock` with the CAS returned, or for `seconds`, nobody else can change it. */
  getAndLock(key: Key, seconds?: number, options: RequestOptions = {}) {
    const extras = seconds === undefined ? {} : { extras: encodeUint32Extras(seconds) }
    return this.#read({ opcode: Opcode.getLocked, key, ...extras }, options)
  }

  async unlock(key: Key, cas: bigint, options: RequestOptions = {}): Promise<void> {
    await this.#change({ opcode: Opcode.unlockKey, key, cas }, options, () => {})
  }

  set(key: Key, value: string | Uint8Array, options: StoreOptions = {}): Promise<MutationResult> {
    return this.#store(Opcode.set, key, value, options)
  }

  /** Only if there is no such key; else `keyExists`. */
  add(key: Key, value: string | Uint8Array, options: StoreOptions = {}): Promise<MutationResult> {
    return this.#store(Opcode.add, key, value, options)
  }

  replace(key: Key, value: string | Uint8Array, options: StoreOptions = {}) {
    return this.#store(Opcode.replace, key, value, options)
  }

  append(key: Key, value: string | Uint8Array, options: MutationOptions = {}) {
    return this.#mutate({ opcode: Opcode.append, key, value }, options, mutationResult)
  }

  prepend(key: Key, value: string | Uint8Array, options: MutationOptions = {}) {
    return this.#mutate({ opcode: Opcode.prepend, key, value }, options, mutationResult)
  }

  remove(key: Key, options: MutationOptions = {}): Promise<MutationResult> {
    return this.#mutate({ opcode: Opcode.delete, key }, options, mutationResult)
  }

  increment(key: Key, options: CounterOptions = {}): Promise<CounterResult> {
    return this.#count(Opcode.increment, key, options)
  }

  decrement(key: Key, options: CounterOptions = {}): Promise<CounterResult> {
    return this.#count(Opcode.decrement, key, options)
  }

  touch(key: Key, expiry: number, options: RequestOptions = {}): Promise<MutationResult> {
    const fields = { opcode: Opcode.touch, key, extras: encodeUint32Extras(expiry) }
    return this.#change(fields, options, mutationResult)
  }

  /** Of documents and of tombstones. */
  getMeta(key: Key, options: RequestOptions = {}): Promise<DocumentMeta | undefined> {
    const extras = encodeGetMetaVersion(GetMetaVersion.v2)
    const read = (frame: Frame) => ({ ...present(decodeMeta(frame), 'meta'), cas: frame.cas })
    const fields = { opcode: Opcode.getMeta, key, extras }
    return this.#ask(fields, options, frame => unlessMissing(frame, read))
  }

  /** Stores a document with the CAS and revision it has elsewhere. */
  setWithMeta(key: Key, value: string | Uint8Array, options: WithMetaOptions) {
    return this.#withMeta({ opcode: Opcode.setWithMeta, key, value }, options)
  }

  /** A value is what outlives the document: its extended attributes. */
  deleteWithMeta(
    key: Key,
    options: WithMetaOptions & { value?: Uint8Array },
  ): Promise<MutationResult> {
    const { value } = options
    const fields = { opcode: Opcode.delWithMeta, key, ...(value ? { value } : {}) }
    return this.#withMeta(fields, options)
  }

  async #askVbucketCount(): Promise<number> {
    try {
      const config = await this.clusterConfig()
      const count = config.vBucketServerMap?.vBucketMap?.length
      return present(count === 0 ? undefined : count, 'cluster map')
    } catch (error) {
      // A plain memcached has no vbuckets and ignores their number.
      if (error instanceof ServerError && error.status === Status.unknownCommand) return 1
      throw error
    }
  }

  /** The id of a collection has no part in where a document is. */
  #ask<T>(fields: RequestFields, options: RequestOptions, read: (frame: Frame) => T): Promise<T> {
    const { vbid = vbucketOf(fields.key!, this.#vbucketCount), collection } = options
    if (this.#collections) {
      return this.#collections.within(collection, id => {
        const key = withCollection(id, fields.key!)
        return this.send({ ...fields, key, vbid }, read, options)
      })
    }
    if (collection === undefined) return this.send({ ...fields, vbid }, read, options)
    return Promise.reject(new RangeError('the client was connected without collections'))
  }

  #change<T>(fields: RequestFields, options: RequestOptions, read: (frame: Frame) => T) {
    return this.#ask(fields, options, frame => {
      expectSuccess(frame)
      return read(frame)
    })
  }

  #read(fields: RequestFields, options: RequestOptions): Promise<Document | undefined> {
    return this.#ask(fields, options, frame => unlessMissing(frame, document))
  }

  #store(opcode: number, key: Key, value: string | Uint8Array, options: StoreOptions) {
    const { flags = 0, expiry = 0, datatype = 0 } = options
    const extras = encodeStoreExtras({ flags, expiry })
    return this.#mutate({ opcode, key, value, extras, datatype }, options, mutationResult)
  }

  #count(opcode: number, key: Key, options: CounterOptions): Promise<CounterResult> {
    const { delta = 1n, initial, expiry = 0 } = options
    const extras = encodeCounterExtras({
      delta,
      initial: initial ?? 0n,
      expiry: initial === undefined ? counterExpiryNoCreate : expiry,
    })
    return this.#mutate({ opcode, key, extras }, options, frame => ({
      ...mutationResult(frame),
      value: present(decodeCounterValue(frame), 'counter'),
    }))
  }

  #mutate<T>(fields: RequestFields, options: StoreOptions, read: (frame: Frame) => T) {
    const { cas, durability, preserveExpiry } = options
    const request: RequestFields = cas === undefined ? fields : { ...fields, cas }
    if (durability || preserveExpiry) request.framing = framingOf(options)
    return this.#change(request, options, read)
  }

  #withMeta(fields: RequestFields, options: WithMetaOptions): Promise<MutationResult> {
    const { cas, revno, flags = 0, expiry = 0, datatype = 0, currentCas = 0n } = options
    const extras = encodeWithMeta({
      flags,
      expiry,
      revno,
      casHigh: uint64High(cas),
      casLow: uint64Low(cas),
      options: options.options,
      nmeta: undefined,
    })
    const request = { ...fields, extras, datatype, cas: currentCas }
    return this.#change(request, options, mutationResult)
  }
}

function framingOf({ durability, durabilityTimeoutMs, preserveExpiry }: StoreOptions): Buffer {
  return encodeRequestFraming({
    ...(durability ? { durabilityLevel: DurabilityLevel[durability] } : {}),
    ...(durabilityTimeoutMs === undefined ? {} : { durabilityTimeoutMs }),
    ...(preserveExpiry ? { preserveExpiry } : {}),
  })
}

/** The key as a client with collections sends it. */
function withCollection(id: number, key: Key): Buffer {
  const bytes = Buffer.from(key)
  const keyed = Buffer.allocUnsafe(leb128Length(id) + bytes.length)
  keyed.set(bytes, writeLeb128(keyed, 0, id))
  return keyed
}

function unlessMissing<T>(frame: Frame, read: (frame: Frame) => T): T | undefined {
  if (frame.status === Status.success) return read(frame)
  if (frame.status === Status.keyNotFound) return undefined
  throw ServerError.from(frame)
}

function document(frame: Frame): Document {
  return {
    value: Buffer.from(frame.value()),
    flags: decodeFlagsExtras(frame) ?? 0,
    cas: frame.cas,
    datatype: frame.datatype,
  }
}

function mutationResult(frame: Frame): MutationResult {
  return { cas: frame.cas, token: decodeMutationToken(frame) }
}
