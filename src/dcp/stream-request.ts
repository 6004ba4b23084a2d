/** DCP_STREAM_REQ: what a client asks for, checked as far as its fields alone allow. */
import { StreamRequestFlag, type StreamRequest } from '../../protocol/dcp/stream-request.ts'
import { decodeStreamRequestValue } from '../../protocol/dcp/stream-request-value.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { defaultCollection } from '../storage/record-key.ts'
import { defaultScope } from '../vbucket/collections/manifest.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { Presented } from './parking/matching.ts'
import type { StreamScope } from './stream-scope.ts'

export interface WantedStream extends Presented {
  scope: StreamScope
  opaque: number
  end: number
  strictUuid: boolean
  activeOnly: boolean
  diskOnly: boolean
  toLatest: boolean
}

/** What the connection has negotiated that bears on its streams. */
export interface StreamTerms {
  /** Of collections. */
  isAware: boolean
  /** Each stream has an id; without, none has. */
  streamIds: boolean
}

/** A status refuses the request. */
export function readStreamRequest(
  request: StreamRequest,
  vbucket: Vbucket,
  { isAware, streamIds }: StreamTerms,
): WantedStream | Status {
  const value = decodeStreamRequestValue(request.value)
  if (value === undefined) return Status.invalidArguments
  const { collections, scope: scopeId, streamId = 0 } = value
  if ((streamId !== 0) !== streamIds) return Status.streamIdInvalid
  if (collections !== undefined && scopeId !== undefined) return Status.invalidArguments
  // Who knows of no collections can ask for the default one only, and has it anyway.
  if (!isAware && collections?.some(id => id !== defaultCollection)) return Status.unknownCollection
  if (!isAware && scopeId !== undefined && scopeId !== defaultScope) return Status.unknownScope
  const has = (flag: StreamRequestFlag) => (request.flags & flag) !== 0
  if (has(StreamRequestFlag.takeover)) return Status.notSupported
  const activeOnly = has(StreamRequestFlag.activeOnly)
  if (!mayRead(vbucket, activeOnly)) return Status.notMyVbucket

  const filter = isAware ? { collections, scopeId } : { collections: undefined, scopeId: undefined }
  const wanted: WantedStream = {
    scope: { vbid: vbucket.id, streamId, isAware, ...filter },
    opaque: request.opaque,
    start: request.startSeqno,
    end: request.endSeqno,
    uuid: request.vbuuid,
    snapshotStart: request.snapshotStartSeqno,
    snapshotEnd: request.snapshotEndSeqno,
    strictUuid: has(StreamRequestFlag.strictVbuuid),
    activeOnly,
    diskOnly: has(StreamRequestFlag.diskOnly),
    toLatest: has(StreamRequestFlag.toLatest),
    toleratedPurgeSeqno: has(StreamRequestFlag.ignorePurgedTombstones)
      ? Infinity
      : (value.purgeSeqno ?? 0),
  }
  if (has(StreamRequestFlag.fromLatest)) beginAtLatest(wanted, vbucket)
  const isInOrder =
    wanted.start <= wanted.end &&
    wanted.snapshotStart <= wanted.start &&
    wanted.start <= wanted.snapshotEnd
  return isInOrder ? wanted : Status.outOfRange
}

/** Streams are served by active vbuckets, and by replicas to those who do not mind. */
export function mayRead(vbucket: Vbucket, activeOnly: boolean): boolean {
  if (vbucket.state === VbucketState.active) return true
  return vbucket.state === VbucketState.replica && !activeOnly
}

function beginAtLatest(wanted: WantedStream, vbucket: Vbucket): void {
  wanted.start = vbucket.highSeqno
  wanted.snapshotStart = vbucket.highSeqno
  wanted.snapshotEnd = vbucket.highSeqno
  if (wanted.uuid === 0n) wanted.uuid = vbucket.failoverLog.vbuuid
}
