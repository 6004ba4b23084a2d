/**
 * The maps that tell clients which node serves which vbucket, in the smallest form that all known
 * clients take: one for each bucket, and one without a bucket for clients that have not chosen any.
 * Whoever shows a map to clients asks for it here, and hears here that it has changed.
 */
import { EventEmitter } from 'node:events'
import { Feature } from '../../protocol/feature.ts'
import type { Clock } from '../clock.ts'
import { callersEndpoint, type Endpoint, noEndpoint } from '../config/endpoint.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { isGranted } from './features.ts'

/** Greater revisions win within an epoch; an epoch ends when a cluster is put together anew. */
export const mapEpoch = 1

/** A map as clients are sent it. */
export interface ClusterMap {
  readonly revision: number
  readonly text: Buffer
}

/** The ports of this node that a map names; filled as they begin to listen. */
export interface Address extends HttpPorts {
  /** Undefined where it is not served. */
  port: number | undefined
  tlsPort: number | undefined
}

export interface HttpPorts {
  readonly httpPort: number | undefined
  readonly httpsPort: number | undefined
}

export interface ClusterMapsOptions {
  readonly clock: Clock
  readonly address: Address
  /** The settings of the same names. */
  readonly advertise: Endpoint
  readonly advertiseExternal: Endpoint
}

export interface ClusterMapEvents {
  /** Changes that follow each other in one turn of the event loop are told once. */
  changed: [bucket: Bucket]
}

interface KnownMap {
  revision: number
  /** The map as it was last sent; undefined when it has changed since. */
  text: Buffer | undefined
  telling: NodeJS.Immediate | undefined
}

/** What a bucket can do, by the names that clients look for; some come with a feature of HELLO. */
const capabilities: readonly (readonly [name: string, feature?: number])[] = [
  ['cbhello'],
  ['cccp'],
  ['collections', Feature.collections],
  ['dcp'],
  ['dcp.IgnorePurgedTombstones'],
  ['durableWrite', Feature.syncReplication],
  ['nodesExt'],
  ['preserve_expiry', Feature.preserveExpiry],
  ['rangeScan'],
  ['subdoc.DocumentMacroSupport', Feature.subdocDocumentMacro],
  ['subdoc.ReplaceBodyWithXattr', Feature.subdocReplaceBodyWithXattr],
  ['subdoc.ReplicaRead', Feature.subdocReplicaRead],
  ['tombstonedUserXAttrs', Feature.subdocCreateAsDeleted],
  ['touch'],
]

export const bucketCapabilities: readonly string[] = capabilities
  .filter(([, feature]) => feature === undefined || isGranted(feature))
  .map(([name]) => name)

export class ClusterMaps {
  readonly events = new EventEmitter<ClusterMapEvents>()
  readonly #options: ClusterMapsOptions
  readonly #firstRevision: number
  readonly #maps = new Map<Bucket, KnownMap>()

  constructor(options: ClusterMapsOptions) {
    this.#options = options
    this.#firstRevision = options.clock.nowMs()
    // Every connection and every HTTP stream may listen.
    this.events.setMaxListeners(0)
  }

  /** The map of the cluster for clients without a bucket. */
  global(): ClusterMap {
    const revision = this.#firstRevision
    const map = {
      revEpoch: mapEpoch,
      rev: revision,
      nodesExt: this.nodesExt(),
      clusterCapabilitiesVer: [1, 0],
      clusterCapabilities: {},
    }
    return { revision, text: Buffer.from(JSON.stringify(map)) }
  }

  /** From now on, changes of the bucket's map are told to who listens. */
  watch(bucket: Bucket): void {
    if (!this.#maps.has(bucket)) this.#watch(bucket)
  }

  /** The map of a bucket, which is watched from then on. */
  of(bucket: Bucket): ClusterMap {
    const map = this.#maps.get(bucket) ?? this.#watch(bucket)
    map.text ??= Buffer.from(JSON.stringify(this.#describe(bucket, map.revision)))
    return { revision: map.revision, text: map.text }
  }

  close(): void {
    for (const { telling } of this.#maps.values()) clearImmediate(telling)
    this.#maps.clear()
    this.events.removeAllListeners()
  }

  /** The node as it is reached by default. */
  self(): { hostname: string; services: Record<string, number> } {
    const { address, advertise } = this.#options
    const { port: kv, tlsPort: kvSSL, httpPort: mgmt, httpsPort: mgmtSSL } = address
    const own = {
      ...(kv === undefined ? {} : { kv }),
      ...(kvSSL === undefined ? {} : { kvSSL }),
      ...(mgmt === undefined ? {} : { mgmt }),
      ...(mgmtSSL === undefined ? {} : { mgmtSSL }),
    }
    return { hostname: advertise.host, services: { ...own, ...advertise.ports } }
  }

  nodesExt() {
    const { advertise, advertiseExternal } = this.#options
    const { hostname, services } = this.self()
    // Not every client fills in a name that is to be filled in; all know what a missing one means.
    const isNamed = advertise.host !== callersEndpoint.host
    const node = { thisNode: true, ...(isNamed ? { hostname } : {}), services }
    const { host, ports } = advertiseExternal
    if (host === noEndpoint.host) return [node]
    // Clients take it if they came by it; ports must then be named.
    const external = { hostname: host, ports: { ...services, ...ports } }
    return [{ ...node, alternateAddresses: { external } }]
  }

  #watch(bucket: Bucket): KnownMap {
    const map: KnownMap = { revision: this.#newRevision(0), text: undefined, telling: undefined }
    this.#maps.set(bucket, map)
    const change = () => this.#change(bucket, map)
    bucket.events.on('state', change)
    bucket.events.on('vbucket-deleted', change)
    bucket.events.on('manifest', change)
    bucket.events.once('deleted', () => {
      clearImmediate(map.telling)
      this.#maps.delete(bucket)
    })
    return map
  }

  #change(bucket: Bucket, map: KnownMap): void {
    map.revision = this.#newRevision(map.revision)
    map.text = undefined
    map.telling ??= setImmediate(() => {
      map.telling = undefined
      this.events.emit('changed', bucket)
    })
  }

  /**
   * Clients keep the greatest revision they have seen: it must grow over restarts too, and never
   * as fast as the milliseconds it starts from.
   */
  #newRevision(before: number): number {
    return Math.max(before + 1, this.#options.clock.nowMs())
  }

  #describe(bucket: Bucket, revision: number) {
    const { hostname, services } = this.self()
    const vbids = Array.from({ length: bucket.vbucketCount }, (_, vbid) => vbid)
    const host = hostname.includes(':') ? `[${hostname}]` : hostname
    const direct = services['kv'] ?? services['kvSSL']
    const management = services['mgmt'] ?? services['mgmtSSL']
    return {
      revEpoch: mapEpoch,
      rev: revision,
      name: bucket.name,
      uuid: bucket.uuid.replaceAll('-', ''),
      nodeLocator: 'vbucket',
      bucketType: 'membase',
      bucketCapabilitiesVer: '',
      bucketCapabilities,
      collectionsManifestUid: bucket.collections.manifest.uidText,
      nodes: [{ hostname: `${host}:${management}`, ports: { direct } }],
      nodesExt: this.nodesExt(),
      clusterCapabilitiesVer: [1, 0],
      clusterCapabilities: {},
      vBucketServerMap: {
        hashAlgorithm: 'CRC',
        numReplicas: 0,
        serverList: [`${host}:${direct}`],
        vBucketMap: vbids.map(vbid => [bucket.vbucket(vbid)?.isActive ? 0 : -1]),
      },
    }
  }
}
