import type { ClusterConfig } from '../../client/index.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { BackupError } from '../errors.ts'

/** Where a node takes requests. */
export interface NodeAddress {
  readonly host: string
  readonly port: number
}

/** Which node serves which vbucket. */
export interface NodeMap {
  readonly revision: number
  readonly nodes: readonly NodeAddress[]
  /** By vbucket: index of the node in `nodes`. */
  readonly nodeOf: readonly number[]
}

interface ExtendedNode {
  readonly hostname?: string
  readonly services?: { readonly kv?: number; readonly kvSSL?: number }
}

/**
 * Reads a cluster map. Where there is one node alone it is the one that was asked, under the address
 * that led to it: it may know itself by another.
 */
export function readNodeMap(config: ClusterConfig, address: BucketAddress): NodeMap {
  const { vBucketServerMap: map, rev = 0 } = config
  const serverList = map?.serverList ?? []
  const vbuckets = map?.vBucketMap ?? []
  if (serverList.length === 0 || vbuckets.length === 0)
    throw new BackupError('refused', `bucket ${address.bucket} has no vbuckets`)
  const nodeOf = vbuckets.map(nodes => nodes[0] ?? -1)
  const unserved = nodeOf.flatMap((node, vbid) =>
    node < 0 || node >= serverList.length ? vbid : [],
  )
  if (unserved.length > 0)
    throw new BackupError(
      'refused',
      `no node serves ${vbucketsText(unserved)} of bucket ${address.bucket}`,
    )
  const nodes =
    serverList.length === 1
      ? [{ host: address.host, port: address.port }]
      : serverList.map(server => nodeAddress(server, config, address))
  return { revision: rev, nodes, nodeOf }
}

/** `$HOST` stands for the host by which the one who asks knows the node. */
function nodeAddress(server: string, config: ClusterConfig, address: BucketAddress): NodeAddress {
  const colon = server.lastIndexOf(':')
  const named = server.slice(0, colon).replace(/^\[(.*)\]$/, '$1')
  const host = named === '$HOST' ? address.host : named
  const port = Number(server.slice(colon + 1))
  if (!address.tls) return { host, port }
  const extended = (config['nodesExt'] ?? []) as readonly ExtendedNode[]
  const node = extended.find(
    ({ hostname, services }) => services?.kv === port && (hostname ?? named) === named,
  )
  const tlsPort = node?.services?.kvSSL
  if (tlsPort === undefined)
    throw new BackupError('refused', `node ${host}:${port} has no port for TLS`)
  return { host, port: tlsPort }
}

const namedMax = 5

export function vbucketsText(vbids: readonly number[]): string {
  const named = vbids.slice(0, namedMax).join(', ')
  const more = vbids.length > namedMax ? ` and ${vbids.length - namedMax} more` : ''
  return `vbucket${vbids.length > 1 ? 's' : ''} ${named}${more}`
}
