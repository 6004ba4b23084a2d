/** A bucket and its node as the management pages show them. */
import { bucketCapabilities } from '../commands/cluster-map.ts'
import type { Node } from '../commands/node.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { version } from '../version.ts'

/** The release of Couchbase Server whose way of doing things clients may expect. */
export const implementationVersion = `7.6.0-holdfast-${version}`

/** `host` is the name by which whoever asks reached this node. */
export function describeNode(node: Node, host: string) {
  const { hostname, services } = node.maps.self()
  const name = hostname === '$HOST' ? host : hostname
  const { kv, kvSSL, mgmt, mgmtSSL } = services
  const bracketed = inBrackets(name)
  const upSeconds = Math.floor((node.clock.nowMs() - node.startedAtMs) / 1000)
  return {
    thisNode: true,
    hostname: `${bracketed}:${mgmt ?? mgmtSSL}`,
    configuredHostname: `${bracketed}:${mgmt ?? mgmtSSL}`,
    otpNode: `ns_1@${name}`,
    ports: { direct: kv ?? kvSSL, ...(mgmtSSL === undefined ? {} : { httpsMgmt: mgmtSSL }) },
    services: ['kv'],
    status: 'healthy',
    clusterMembership: 'active',
    version: implementationVersion,
    clusterCompatibility: 0x7_0006,
    os: `${process.platform}-${process.arch}`,
    uptime: String(upSeconds),
  }
}

/** What is taken from a bucket's map. */
interface BucketMap {
  uuid: string
  collectionsManifestUid: string
  vBucketServerMap: { serverList: string[] }
}

export function describeBucket(node: Node, bucket: Bucket, host: string) {
  const { name } = bucket
  const { quotaBytes, flushEnabled } = bucket.shape.current
  const { items, documentBytes, environments } = bucket.statistics()
  const uri = `/pools/default/buckets/${encodeURIComponent(name)}`
  const map = JSON.parse(node.maps.of(bucket).text.toString()) as BucketMap
  return {
    name,
    uuid: map.uuid,
    nodeLocator: 'vbucket',
    bucketType: 'membase',
    uri,
    streamingUri: `/pools/default/bs/${encodeURIComponent(name)}`,
    controllers: flushEnabled ? { flush: `${uri}/controller/doFlush` } : {},
    quota: { ram: quotaBytes, rawRAM: quotaBytes },
    basicStats: {
      itemCount: items,
      dataUsed: documentBytes,
      quotaPercentUsed: quotaBytes === 0 ? 0 : (100 * documentBytes) / quotaBytes,
      diskUsed: environments.reduce((sum, { allocatedBytes }) => sum + allocatedBytes, 0),
    },
    numVBuckets: bucket.vbucketCount,
    replicaNumber: 0,
    replicaIndex: false,
    evictionPolicy: 'valueOnly',
    conflictResolutionType: 'seqno',
    durabilityMinLevel: 'none',
    compressionMode: 'passive',
    maxTTL: 0,
    bucketCapabilitiesVer: '',
    bucketCapabilities,
    collectionsManifestUid: map.collectionsManifestUid,
    vBucketServerMap: reachedBy(host, map.vBucketServerMap),
    nodes: [describeNode(node, host)],
  }
}

/** Clients that read this page know nothing of `$HOST`, which the terse maps have. */
function reachedBy(host: string, map: BucketMap['vBucketServerMap']): object {
  const serverList = map.serverList.map(server => server.replace('$HOST', inBrackets(host)))
  return { ...map, serverList }
}

function inBrackets(host: string): string {
  return host.includes(':') && !host.startsWith('[') ? `[${host}]` : host
}
