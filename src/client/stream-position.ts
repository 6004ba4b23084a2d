import type { SavedSelection } from './collection-selection.ts'
import { ClientError } from './errors.ts'

/** One branch of a vbucket's history: from `seqno` on it was written under `vbuuid`. */
export interface HistoryBranch {
  readonly vbuuid: bigint
  readonly seqno: number
}

/** The history that a position belongs to. Immutable, shared by all positions within it. */
export interface History {
  /** Presented to the server; 0 says "no history: send everything". */
  readonly vbuuid: bigint
  /** As the server last told it, newest first. */
  readonly failoverLog: readonly HistoryBranch[]
}

/** Immutable, shared by all positions within it. */
export interface Snapshot {
  readonly start: number
  readonly end: number
  /** The server's purge seqno when it took the snapshot, if it says so (marker 2.2). */
  readonly purgeSeqno?: number | undefined
}

/**
 * How far a consumer of one vbucket is: it has everything up to `seqno`. If `seqno` is below
 * `snapshot.end` it is within a snapshot, where older versions of keys may be left out because
 * newer ones follow; so the server has to know the snapshot to go on from there.
 */
export interface StreamPosition {
  readonly history: History
  readonly seqno: number
  readonly snapshot: Snapshot
}

export const noHistory: History = { vbuuid: 0n, failoverLog: [] }

/** Has nothing yet. */
export const startPosition: StreamPosition = {
  history: noHistory,
  seqno: 0,
  snapshot: { start: 0, end: 0 },
}

/** The history of someone whose stream was just accepted with `failoverLog`. */
export function historyOf(failoverLog: readonly HistoryBranch[]): History {
  return failoverLog.length === 0 ? noHistory : { vbuuid: failoverLog[0]!.vbuuid, failoverLog }
}

/**
 * The position after going back to `seqno`: the newest branch of `failoverLog` that had begun by
 * then is the one that the server and we have in common. Without one, only 0 is left.
 */
export function rolledBack(failoverLog: readonly HistoryBranch[], seqno: number): StreamPosition {
  const branch = failoverLog.find(entry => entry.seqno <= seqno)
  if (seqno === 0 || !branch) return startPosition
  return {
    history: { vbuuid: branch.vbuuid, failoverLog },
    seqno,
    snapshot: { start: seqno, end: seqno },
  }
}

/** What `DcpClient.state()` gives: plain JSON, to be kept and given back as `state`. */
export interface DcpState {
  readonly format: 'holdfast-dcp-state'
  readonly version: 1
  readonly bucket: string
  /** Of which collections the streams were; without it, of the default one alone. */
  readonly collections?: SavedSelection | undefined
  readonly vbuckets: readonly SavedPosition[]
}

export interface SavedPosition {
  readonly vbid: number
  /** 64-bit numbers are decimal strings: JSON's numbers are not exact there. */
  readonly vbuuid: string
  readonly failoverLog: readonly { readonly vbuuid: string; readonly seqno: number }[]
  readonly seqno: number
  readonly snapshotStart: number
  readonly snapshotEnd: number
  readonly purgeSeqno?: number | undefined
}

export function savePosition(vbid: number, position: StreamPosition): SavedPosition {
  const { history, seqno, snapshot } = position
  return {
    vbid,
    vbuuid: String(history.vbuuid),
    failoverLog: history.failoverLog.map(entry => ({
      vbuuid: String(entry.vbuuid),
      seqno: entry.seqno,
    })),
    seqno,
    snapshotStart: snapshot.start,
    snapshotEnd: snapshot.end,
    ...(snapshot.purgeSeqno === undefined ? {} : { purgeSeqno: snapshot.purgeSeqno }),
  }
}

export interface ReadState {
  readonly positions: ReadonlyMap<number, StreamPosition>
  /** To be compared with what is asked for. */
  readonly collections: unknown
}

/** Reads a saved state, with every field checked: it has been in somebody's file. */
export function readState(state: unknown, bucket: string): ReadState {
  const root = fields(state, 'the state')
  if (root['format'] !== 'holdfast-dcp-state') refuse('it is no holdfast-dcp-state')
  if (root['version'] !== 1) refuse(`version ${String(root['version'])} is unknown here`)
  if (root['bucket'] !== bucket)
    refuse(`it belongs to bucket ${JSON.stringify(root['bucket'])}, not ${JSON.stringify(bucket)}`)
  const positions = new Map<number, StreamPosition>()
  for (const [index, entry] of list(root['vbuckets'], 'vbuckets').entries()) {
    const path = `vbuckets[${index}]`
    const saved = fields(entry, path)
    const vbid = integer(saved['vbid'], `${path}.vbid`)
    if (vbid > 0xffff) refuse(`${path}.vbid is no vbucket`)
    if (positions.has(vbid)) refuse(`vbucket ${vbid} is there twice`)
    positions.set(vbid, readPosition(saved, path))
  }
  return { positions, collections: root['collections'] }
}

function readPosition(saved: Record<string, unknown>, path: string): StreamPosition {
  const seqno = integer(saved['seqno'], `${path}.seqno`)
  const start = integer(saved['snapshotStart'], `${path}.snapshotStart`)
  const end = integer(saved['snapshotEnd'], `${path}.snapshotEnd`)
  if (start > seqno || seqno > end) refuse(`${path}.seqno is not within its snapshot`)
  const purge = saved['purgeSeqno']
  const failoverLog = list(saved['failoverLog'], `${path}.failoverLog`).map((entry, index) => {
    const branch = fields(entry, `${path}.failoverLog[${index}]`)
    return {
      vbuuid: uint64(branch['vbuuid'], `${path}.failoverLog[${index}].vbuuid`),
      seqno: integer(branch['seqno'], `${path}.failoverLog[${index}].seqno`),
    }
  })
  return {
    history: { vbuuid: uint64(saved['vbuuid'], `${path}.vbuuid`), failoverLog },
    seqno,
    snapshot: {
      start,
      end,
      ...(purge === undefined ? {} : { purgeSeqno: integer(purge, `${path}.purgeSeqno`) }),
    },
  }
}

function refuse(why: string): never {
  throw new ClientError('HOLDFAST_STATE', `the saved state cannot be used: ${why}`)
}

function fields(value: unknown, path: string): Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    refuse(`${path} is no object`)
  return value as Record<string, unknown>
}

function list(value: unknown, path: string): unknown[] {
  if (!Array.isArray(value)) refuse(`${path} is no list`)
  return value as unknown[]
}

function integer(value: unknown, path: string): number {
  if (!Number.isSafeInteger(value) || (value as number) < 0) refuse(`${path} is no whole number`)
  return value as number
}

function uint64(value: unknown, path: string): bigint {
  if (typeof value !== 'string' || !/^\d{1,20}$/.test(value) || BigInt(value) >= 2n ** 64n)
    refuse(`${path} is no decimal 64-bit number`)
  return BigInt(value as string)
}
