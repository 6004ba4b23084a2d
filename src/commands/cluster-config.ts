/** How clients get the cluster's map: on request, with a refusal, and pushed when it has changed. */
import {
  decodeClusterConfigVersion,
  encodeClusterConfigVersion,
  type ClusterConfigVersion,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Opcode, ServerOpcode } from '../../protocol/opcode.ts'
import { encodeServerRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { mapEpoch } from './cluster-map.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

/**
 * With the version that the client has in the extras, the answer has a body only if there is a
 * newer one. A client that can choose a bucket and has not is asking about the cluster as a whole.
 */
function getClusterConfig(session: Session, frame: Frame): Outcome {
  const { node, bucket } = session
  const known = frame.extrasLength > 0 ? decodeClusterConfigVersion(frame)! : undefined
  const isGlobal =
    bucket === undefined || (session.features.selectBucket && !session.hasSelectedBucket)
  const { revision, text } = isGlobal ? node.maps.global() : node.maps.of(bucket)
  if (known !== undefined && hasMap(known, revision)) return reply(session, frame)
  if (!isGlobal) session.knownMapRevision = revision
  return reply(session, frame, { value: text, datatype: jsonFor(session) })
}

function hasMap(known: ClusterConfigVersion, revision: number): boolean {
  return known.epoch === mapEpoch ? known.revision >= revision : known.epoch > mapEpoch
}

/** Refuses a request for a vbucket that is not served here, with the map for whoever reads it. */
export function replyNotMyVbucket(session: Session, frame: Frame): Outcome {
  const { features, bucket, node } = session
  // Clients look at the body only if it says that it is JSON.
  if (!features.json || bucket === undefined) return Status.notMyVbucket
  const { revision, text } = node.maps.of(bucket)
  const status = Status.notMyVbucket
  if (features.dedupesMaps && session.knownMapRevision === revision) {
    return reply(session, frame, { status })
  }
  session.knownMapRevision = revision
  return reply(session, frame, { status, value: text, datatype: Datatype.json })
}

/**
 * CLUSTERMAP_CHANGE_NOTIFICATION with the map of the session's bucket, or with its version alone;
 * undefined when the client has it, or does not want to be told.
 */
export function encodeMapChange(session: Session): Buffer | undefined {
  const { features, bucket, node } = session
  if (features.mapPushes === 'none' || bucket === undefined) return undefined
  // A client that can choose a bucket and has not asks about the cluster as a whole.
  if (features.selectBucket && !session.hasSelectedBucket) return undefined
  const { revision, text } = node.maps.of(bucket)
  if (session.knownMapRevision >= revision) return undefined
  const isFull = features.mapPushes === 'full'
  if (isFull) session.knownMapRevision = revision
  return encodeServerRequest({
    opcode: ServerOpcode.clustermapChange,
    extras: encodeClusterConfigVersion({ epoch: mapEpoch, revision }),
    key: bucket.name,
    ...(isFull ? { value: text, datatype: jsonFor(session) } : {}),
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
    privilege: Privilege.login,
    run: getClusterConfig,
  },
]
