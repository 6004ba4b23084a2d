import { Status } from '../../../protocol/status.ts'
import { VbucketState } from '../../../protocol/vbucket-state.ts'
import { vbucketOf } from '../../../protocol/key-hash.ts'
import { ServerError, type KvClient } from '../../client/index.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { connectToBucket } from '../connect.ts'
import { readNodeMap, type NodeMap } from './node-map.ts'

const agent = 'holdfast restore'
const persistTimeoutMs = 600_000

/** High seqnos of the vbuckets of a bucket. */
export type Seqnos = ReadonlyMap<number, number>

/** The bucket that documents are brought into: its nodes, and which vbucket is on which. */
export class RestoreTarget {
  readonly address: BucketAddress
  /** Empty where the server does not tell. */
  readonly bucketUuid: string
  /** Conflicts are resolved by time, not by revision: then writers say that they know. */
  readonly resolvesByTime: boolean
  /** Whether keys begin with the ids of collections. */
  readonly hasCollections: boolean
  #map: NodeMap
  readonly #clients: (KvClient | undefined)[] = []
  readonly #persisted = new Map<number, number>()

  static async open(address: BucketAddress): Promise<RestoreTarget> {
    const { client, hasCollections } = await connectWithCollections(address)
    try {
      const config = await client.clusterConfig()
      const map = readNodeMap(config, address)
      const { uuid } = config
      const resolvesByTime = await asksForTime(client)
      return new RestoreTarget(address, {
        map,
        bucketUuid: typeof uuid === 'string' ? uuid : '',
        resolvesByTime,
        hasCollections,
      })
    } finally {
      await client.close()
    }
  }

  private constructor(
    address: BucketAddress,
    found: { map: NodeMap } & Pick<
      RestoreTarget,
      'bucketUuid' | 'resolvesByTime' | 'hasCollections'
    >,
  ) {
    this.address = address
    this.#map = found.map
    this.bucketUuid = found.bucketUuid
    this.resolvesByTime = found.resolvesByTime
    this.hasCollections = found.hasCollections
  }

  get nodeCount(): number {
    return this.#map.nodes.length
  }

  vbucketOf(key: Uint8Array): number {
    return vbucketOf(key, this.#map.nodeOf.length)
  }

  /** Index of the node that serves the vbucket. */
  nodeOf(vbid: number): number {
    return this.#map.nodeOf[vbid]!
  }

  /** A connection of its own to a node. */
  connect(node: number): Promise<KvClient> {
    const address = { ...this.address, ...this.#map.nodes[node]! }
    return connectToBucket(address, agent, { collections: this.hasCollections })
  }

  /** Asks for the map again. True if nodes are others than before: connections lead elsewhere then. */
  async refresh(): Promise<boolean> {
    const client = await connectToBucket(this.address, agent)
    try {
      const map = readNodeMap(await client.clusterConfig(), this.address)
      const isSame = JSON.stringify(map.nodes) === JSON.stringify(this.#map.nodes)
      this.#map = map
      if (!isSame) this.close()
      return !isSame
    } finally {
      await client.close()
    }
  }

  /** High seqnos of all vbuckets. */
  async seqnos(): Promise<Map<number, number>> {
    const seqnos = new Map<number, number>()
    for (let node = 0; node < this.nodeCount; node++) {
      const client = await this.#client(node)
      for (const [vbid, seqno] of await client.allVbSeqnos(VbucketState.active))
        if (this.nodeOf(vbid) === node) seqnos.set(vbid, seqno)
    }
    return seqnos
  }

  /**
   * Resolves when all that is in the bucket now is on its disks, with how far that is. Until then a
   * crash could take some of it back. A bucket without disks has nothing to wait for.
   */
  async untilPersisted(): Promise<Seqnos> {
    const seqnos = await this.seqnos()
    const waiting = [...seqnos].filter(([vbid, seqno]) => seqno > (this.#persisted.get(vbid) ?? 0))
    await Promise.all(
      waiting.map(async ([vbid, seqno]) => {
        const client = await this.#client(this.nodeOf(vbid))
        try {
          await client.seqnoPersisted(vbid, seqno, { timeoutMs: persistTimeoutMs })
        } catch (error) {
          if (!(error instanceof ServerError) || error.status !== Status.notSupported) throw error
        }
        this.#persisted.set(vbid, seqno)
      }),
    )
    return seqnos
  }

  /** Drops connections at once. */
  close(): void {
    for (const client of this.#clients.splice(0)) client?.destroy()
  }

  async #client(node: number): Promise<KvClient> {
    const known = this.#clients[node]
    if (known?.isOpen) return known
    const client = await this.connect(node)
    const raced = this.#clients[node]
    if (raced?.isOpen && raced !== known) {
      client.destroy()
      return raced
    }
    this.#clients[node] = client
    return client
  }
}

/** A server without collections has the default one alone, and keys without a prefix. */
async function connectWithCollections(
  address: BucketAddress,
): Promise<{ client: KvClient; hasCollections: boolean }> {
  try {
    const client = await connectToBucket(address, agent, { collections: true })
    return { client, hasCollections: true }
  } catch (error) {
    if (!(error instanceof ServerError) || error.status !== Status.notSupported) throw error
    return { client: await connectToBucket(address, agent), hasCollections: false }
  }
}

/** Couchbase tells it among its statistics; who does not tell resolves by revision. */
async function asksForTime(client: KvClient): Promise<boolean> {
  try {
    return (await client.stats('config')).get('ep_conflict_resolution_type') === 'lww'
  } catch (error) {
    if (error instanceof ServerError) return false
    throw error
  }
}
