import {
  decodeFoundId,
  decodeObserveSeqnoResponse,
  decodeVbSeqnos,
  decodeVbucketStateValue,
  deleteVbucketSynchronously,
  encodeAllVbSeqnosRequest,
  encodeCompactDb,
  encodeCreateBucketValue,
  encodeObserveSeqnoRequest,
  encodeSeqnoPersistence,
  encodeSetVbucketExtras,
  type CompactDb,
  type ObservedSeqno,
} from '../../protocol/commands/index.ts'
import { decodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import type { VbucketState } from '../../protocol/vbucket-state.ts'
import { decodeManifest, type CollectionsManifest } from './collections-manifest.ts'
import {
  Connection,
  type ConnectionOptions,
  type Request,
  type RequestOptions,
} from './connection.ts'
import { protocolError, type ClientError } from './errors.ts'
import { expectSuccess, handshake } from './handshake.ts'
import type { Credentials } from './login.ts'
import type { HistoryBranch } from './stream-position.ts'

export interface NodeClientOptions extends ConnectionOptions {
  /** Default `default`; `false` selects none. */
  bucket?: string | false
  credentials?: Credentials
  /** Documents can be in any collection (default false); a server that has none is an error. */
  collections?: boolean
  /** Shown in the server's log and statistics. */
  agent?: string
  /** Called once when the connection is gone, with the reason unless `close` was called. */
  onClose?: (error: ClientError | undefined) => void
}

/** The parts of a cluster map that are read here; the rest is there as it came. */
export interface ClusterConfig {
  rev?: number
  revEpoch?: number
  name?: string
  vBucketServerMap?: { serverList?: string[]; vBucketMap?: number[][] }
  [member: string]: unknown
}

/** A purge may have to go through all of a vbucket, and waits for what holds it back. */
const compactTimeoutMs = 600_000

/** What one can ask of a node apart from its documents. Requests are pipelined. */
export class NodeClient {
  /** HELLO features that the server granted. */
  readonly features: ReadonlySet<number>
  readonly #connection: Connection

  protected constructor(connection: Connection, features: ReadonlySet<number>) {
    this.#connection = connection
    this.features = features
  }

  protected static async introduce(
    options: NodeClientOptions,
  ): Promise<[Connection, ReadonlySet<number>]> {
    const { bucket, credentials, collections = false, agent, onClose } = options
    const connection = await Connection.open(options, onClose ? { onClose } : {})
    try {
      const features = await handshake(connection, {
        collections,
        ...(agent === undefined ? {} : { agent }),
        ...(credentials === undefined ? {} : { credentials }),
        ...(bucket === undefined ? {} : { bucket }),
      })
      return [connection, features]
    } catch (error) {
      connection.destroy()
      throw error
    }
  }

  get isOpen(): boolean {
    return this.#connection.isOpen
  }

  /** Any request; resolves with the response, whatever its status. */
  request(request: Request, options?: RequestOptions): Promise<Frame> {
    return this.#connection.request(request, options)
  }

  /** Many requests at once, see `Connection.sendBatch`. */
  sendBatch(bytes: Buffer, visit: (frame: Frame) => void): Promise<void> {
    return this.#connection.sendBatch(bytes, visit)
  }

  /** Resolves with what `read` makes of a successful response, rejects with a `ServerError`. */
  protected call<T>(
    fields: RequestFields,
    read: (frame: Frame) => T,
    options?: RequestOptions,
  ): Promise<T> {
    return this.#connection.send(
      fields,
      frame => {
        expectSuccess(frame)
        return read(frame)
      },
      options,
    )
  }

  /** The same where `read` looks at the status itself. */
  protected send<T>(
    fields: RequestFields,
    read: (frame: Frame) => T,
    options?: RequestOptions,
  ): Promise<T> {
    return this.#connection.send(fields, read, options)
  }

  /** Says goodbye and waits for the end; requests sent before still get their answers. */
  close(): Promise<void> {
    return this.#connection.close()
  }

  /** Drops the connection at once. */
  destroy(): void {
    this.#connection.destroy()
  }

  async noop(): Promise<void> {
    await this.call({ opcode: Opcode.noop }, nothing)
  }

  version(): Promise<string> {
    return this.call({ opcode: Opcode.version }, text)
  }

  /** One group of statistics, or the general ones. */
  async stats(group = ''): Promise<Map<string, string>> {
    const stats = new Map<string, string>()
    await this.#connection.sendForMany({ opcode: Opcode.stat, key: group }, frame => {
      expectSuccess(frame)
      if (frame.keyLength === 0) return false
      stats.set(frame.key().toString(), frame.value().toString())
      return true
    })
    return stats
  }

  /** Removes all documents of the bucket. */
  async flush(): Promise<void> {
    await this.call({ opcode: Opcode.flush }, nothing)
  }

  /** Purges tombstones; resolves when it is done. */
  async compact(vbid: number, what: Partial<CompactDb> = {}): Promise<void> {
    const extras = encodeCompactDb({
      purgeBeforeTimeSeconds: 0,
      purgeBeforeSeqno: 0,
      dropDeletes: false,
      ...what,
    })
    const options = { timeoutMs: compactTimeoutMs }
    await this.call({ opcode: Opcode.compactDb, vbid, extras }, nothing, options)
  }

  vbucketState(vbid: number): Promise<VbucketState> {
    return this.call({ opcode: Opcode.getVbucket, vbid }, frame =>
      present(decodeVbucketStateValue(frame), 'vbucket state'),
    )
  }

  async setVbucketState(vbid: number, state: VbucketState): Promise<void> {
    const extras = encodeSetVbucketExtras(state)
    await this.call({ opcode: Opcode.setVbucket, vbid, extras }, nothing)
  }

  /** Resolves once the vbucket and all that was in it is gone. */
  async deleteVbucket(vbid: number): Promise<void> {
    const value = deleteVbucketSynchronously
    await this.call({ opcode: Opcode.delVbucket, vbid, value }, nothing)
  }

  /** The high seqno of each vbucket that the node has, or of those in one state. */
  allVbSeqnos(state?: VbucketState): Promise<Map<number, number>> {
    const extras = encodeAllVbSeqnosRequest({ state, collection: undefined })
    return this.call({ opcode: Opcode.getAllVbSeqnos, extras }, frame => {
      const seqnos = present(decodeVbSeqnos(frame), 'vbucket seqnos')
      return new Map(seqnos.map(({ vbid, seqno }) => [vbid, seqno]))
    })
  }

  failoverLog(vbid: number): Promise<readonly HistoryBranch[]> {
    return this.call({ opcode: Opcode.getFailoverLog, vbid }, frame =>
      present(decodeFailoverLog(frame), 'failover log'),
    )
  }

  /** How far the vbucket is in memory and on disk, seen from the history `vbuuid`. */
  observeSeqno(vbid: number, vbuuid: bigint): Promise<ObservedSeqno> {
    const value = encodeObserveSeqnoRequest(vbuuid)
    return this.call({ opcode: Opcode.observeSeqno, vbid, value }, frame =>
      present(decodeObserveSeqnoResponse(frame), 'seqno observation'),
    )
  }

  /** Resolves once `seqno` is on disk. */
  async seqnoPersisted(vbid: number, seqno: number, options?: RequestOptions): Promise<void> {
    const extras = encodeSeqnoPersistence(seqno)
    await this.call({ opcode: Opcode.seqnoPersistence, vbid, extras }, nothing, options)
  }

  clusterConfig(): Promise<ClusterConfig> {
    return this.call({ opcode: Opcode.getClusterConfig }, frame => {
      const config = JSON.parse(text(frame)) as unknown
      if (typeof config !== 'object' || config === null) throw protocolError('no cluster map')
      return config as ClusterConfig
    })
  }

  /** The scopes and collections of the bucket. */
  collectionsManifest(): Promise<CollectionsManifest> {
    return this.call({ opcode: Opcode.getCollectionsManifest }, frame =>
      decodeManifest(text(frame)),
    )
  }

  /** Of `scope.collection`. */
  collectionId(path: string): Promise<number> {
    return this.call({ opcode: Opcode.getCollectionId, value: path }, frame => {
      return present(decodeFoundId(frame), 'collection id').id
    })
  }

  /** `configuration` is the server's own: `name=value;name=value`. */
  async createBucket(name: string, configuration = '', module = 'ep.so'): Promise<void> {
    const value = encodeCreateBucketValue({ module, configuration })
    await this.call({ opcode: Opcode.createBucket, key: name, value }, nothing)
  }

  async deleteBucket(name: string): Promise<void> {
    await this.call({ opcode: Opcode.deleteBucket, key: name }, nothing)
  }

  listBuckets(): Promise<string[]> {
    return this.call({ opcode: Opcode.listBuckets }, frame =>
      text(frame).split(' ').filter(Boolean),
    )
  }

  async selectBucket(name: string): Promise<void> {
    await this.call({ opcode: Opcode.selectBucket, key: name }, nothing)
  }
}

function nothing(): void {}

function text(frame: Frame): string {
  return frame.value().toString()
}

/** What a decoder made of a body, or the error that it could not. */
export function present<T>(decoded: T | undefined, what: string): T {
  if (decoded === undefined) throw protocolError(`a malformed ${what}`)
  return decoded
}
