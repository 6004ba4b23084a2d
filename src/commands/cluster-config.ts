/**
 * The map that tells clients which node serves which vbucket, in the smallest form that all known
 * clients take. Of a lone node it changes only when somebody sets a vbucket's state by hand.
 */
import {
  decodeClusterConfigVersion,
  type ClusterConfigVersion,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import type { Node } from './node.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

/** Greater revisions win within an epoch; an epoch ends when a cluster is put together anew. */
const epoch = 1

const bucketCapabilities = [
  'cbhello',
  'cccp',
  'dcp',
  'dcp.IgnorePurgedTombstones',
  'durableWrite',
  'nodesExt',
  'preserve_expiry',
  'touch',
]

interface ClusterMap {
  revision: number
  /** The map as it was last sent; undefined when it has changed since. */
  text: Buffer | undefined
}

const maps = new WeakMap<Bucket, ClusterMap>()

/** Clients keep the greatest revision they have seen: it must grow over restarts too. */
function firstRevision(node: Node): number {
  return Math.floor(node.startedAtMs / 1000)
}

function mapOf(node: Node, bucket: Bucket): ClusterMap {
  let map = maps.get(bucket)
  if (map === undefined) {
    map = { revision: firstRevision(node), text: undefined }
    maps.set(bucket, map)
    const changing = map
    const change = () => {
      changing.revision++
      changing.text = undefined
    }
    bucket.events.on('state', change)
    bucket.events.on('vbucket-deleted', change)
  }
  map.text ??= Buffer.from(JSON.stringify(describe(node, bucket, map.revision)))
  return map
}

/** Clients put the address by which they reached the node in the place of `$HOST`. */
function nodesExt(node: Node) {
  const { port, httpPort } = node.address
  return [{ thisNode: true, hostname: '$HOST', services: { kv: port, mgmt: httpPort } }]
}

function describe(node: Node, bucket: Bucket, revision: number) {
  const { port, httpPort } = node.address
  const vbids = Array.from({ length: bucket.vbucketCount }, (_, vbid) => vbid)
  return {
    revEpoch: epoch,
    rev: revision,
    name: bucket.name,
    uuid: bucket.uuid.replaceAll('-', ''),
    nodeLocator: 'vbucket',
    bucketType: 'membase',
    bucketCapabilities,
    nodes: [{ hostname: `$HOST:${httpPort}`, ports: { direct: port } }],
    nodesExt: nodesExt(node),
    vBucketServerMap: {
      hashAlgorithm: 'CRC',
      numReplicas: 0,
      serverList: [`$HOST:${port}`],
      vBucketMap: vbids.map(vbid => [bucket.vbucket(vbid)?.isActive ? 0 : -1]),
    },
  }
}

function describeGlobally(node: Node) {
  return {
    revEpoch: epoch,
    rev: firstRevision(node),
    nodesExt: nodesExt(node),
    clusterCapabilitiesVer: [1, 0],
    clusterCapabilities: {},
  }
}

/**
 * With the version that the client has in the extras, the answer has a body only if there is a
 * newer one. A client that can choose a bucket and has not is asking about the cluster as a whole.
 */
function getClusterConfig(session: Session, frame: Frame): Outcome {
  const { node, bucket } = session
  const known = frame.extrasLength > 0 ? decodeClusterConfigVersion(frame)! : undefined
  const isGlobal =
    bucket === undefined || (session.features.selectBucket && !session.hasSelectedBucket)
  const revision = isGlobal ? firstRevision(node) : mapOf(node, bucket).revision
  if (known !== undefined && hasMap(known, revision)) return reply(session, frame)
  const value = isGlobal
    ? Buffer.from(JSON.stringify(describeGlobally(node)))
    : mapOf(node, bucket).text!
  if (!isGlobal) session.knownMapRevision = revision
  return reply(session, frame, { value, datatype: jsonFor(session) })
}

function hasMap(known: ClusterConfigVersion, revision: number): boolean {
  return known.epoch === epoch ? known.revision >= revision : known.epoch > epoch
}

/** Refuses a request for a vbucket that is not served here, with the map for whoever reads it. */
export function replyNotMyVbucket(session: Session, frame: Frame): Outcome {
  const { features, bucket, node } = session
  // Clients look at the body only if it says that it is JSON.
  if (!features.json || bucket === undefined) return Status.notMyVbucket
  const map = mapOf(node, bucket)
  if (features.dedupesMaps && session.knownMapRevision === map.revision) {
    return reply(session, frame, { status: Status.notMyVbucket })
  }
  session.knownMapRevision = map.revision
  const { text } = map
  return reply(session, frame, {
    status: Status.notMyVbucket,
    ...(text && { value: text }),
    datatype: Datatype.json,
  })
}

function jsonFor(session: Session): number {
  return session.features.json ? Datatype.json : Datatype.raw
}

export const clusterConfigRows: readonly CommandRow[] = [
  {
    opcode: Opcode.getClusterConfig,
    extras: [0, 16],
    key: 'none',
    value: 'none',
    cas: 'none',
    target: 'node',
    privilege: Privilege.none,
    run: getClusterConfig,
  },
]
