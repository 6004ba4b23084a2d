import type { BackupDocument, DataObject, Manifest, VbucketPosition } from '../archive/documents.ts'
import { backupNumberOf } from '../archive/layout.ts'
import { sumOf } from '../archive/record-counts.ts'
import { sizeOf } from '../store/object-store.ts'

export interface ReadBackup {
  readonly backup: BackupDocument
  readonly manifest: Manifest
}

/** What of a backup does not fit together, though each document for itself can be read. */
export function* faultsWithin({ backup, manifest }: ReadBackup): Generator<string, void> {
  const { objects, vbuckets } = manifest
  if (manifest.backup !== backup.id) yield `its manifest is that of ${manifest.backup}`
  if (vbuckets.length !== backup.vbuckets)
    yield `its manifest has ${vbuckets.length} vbuckets, not ${backup.vbuckets}`
  const bytes = sizeOf(objects)
  if (bytes !== backup.storedBytes)
    yield `its objects have ${bytes} bytes, not ${backup.storedBytes}`
  const counts = sumOf(objects.map(object => object.counts))
  for (const name of Object.keys(counts) as (keyof typeof counts)[])
    if (counts[name] !== backup.counts[name])
      yield `its objects have ${counts[name]} as ${name}, not ${backup.counts[name]}`
  yield* vbucketFaults(manifest)
}

function* vbucketFaults({ objects, vbuckets }: Manifest): Generator<string, void> {
  const positions = byVbucket(vbuckets)
  if (positions.size < vbuckets.length) yield 'its manifest has a vbucket twice'
  for (const { vbid, vbuuid, seqno, snapshotStart, snapshotEnd, failoverLog } of vbuckets) {
    if (seqno < snapshotStart || seqno > snapshotEnd)
      yield `vbucket ${vbid}: seqno ${seqno} is not within its snapshot`
    if (seqno > 0 && !failoverLog.some(branch => branch.vbuuid === vbuuid))
      yield `vbucket ${vbid}: its history is not in its failover log`
    if (
      failoverLog.some(
        (branch, index) => branch.seqno > (failoverLog[index - 1]?.seqno ?? Infinity),
      )
    )
      yield `vbucket ${vbid}: its failover log is not in order`
  }
  if (byVbucket(objects).size < objects.length) yield 'a vbucket has two objects'
  for (const { vbid, firstSeqno, lastSeqno } of objects) {
    const position = positions.get(vbid)
    if (!position) yield `vbucket ${vbid} has an object, and no position`
    if (firstSeqno > lastSeqno || lastSeqno > (position?.seqno ?? Infinity))
      yield (
        `vbucket ${vbid}: its object has seqnos ${firstSeqno} to ${lastSeqno}, ` +
        `of those up to ${position?.seqno}`
      )
  }
}

/**
 * What keeps `next` from continuing `previous`, as it says it does: each vbucket has to begin where it
 * ended then, in a history that it was part of.
 */
export function* faultsBetween(previous: ReadBackup, next: ReadBackup): Generator<string, void> {
  const { id, bucket } = previous.backup
  if ((backupNumberOf(next.backup.id) ?? 0) <= (backupNumberOf(id) ?? 0))
    yield `it continues ${id}, which is not older`
  if (next.backup.bucket.uuid !== bucket.uuid) yield `it is of another bucket than ${id}`
  if (!previous.manifest.collections && next.manifest.collections)
    yield `${id}, which it continues, has the default collection alone`
  if (previous.manifest.collections && !next.manifest.collections)
    yield `it has the default collection alone, and continues ${id}, which has others`
  const positions = byVbucket(next.manifest.vbuckets)
  const objects = byVbucket(next.manifest.objects)
  for (const before of previous.manifest.vbuckets) {
    const { vbid } = before
    const after = positions.get(vbid)
    if (!after) yield `vbucket ${vbid} of ${id} is missing`
    else
      for (const fault of seamFaults(before, after, objects.get(vbid)))
        yield `vbucket ${vbid}: ${fault} ${id}`
  }
}

/** Each goes on with the name of the backup in front. */
function* seamFaults(
  before: VbucketPosition,
  after: VbucketPosition,
  object: DataObject | undefined,
): Generator<string, void> {
  if (after.seqno < before.seqno)
    yield `it ends at seqno ${after.seqno}, in front of ${before.seqno}, the end of`
  if (object && object.firstSeqno <= before.seqno)
    yield `it begins with seqno ${object.firstSeqno}, in front of ${before.seqno}, the end of`
  if (before.seqno > 0 && !wasReachedBy(before, after))
    yield `its failover log does not have seqno ${before.seqno} of the history of`
}

/** Whether the history of `after` was that of `before` at its seqno, and did not branch off in front of it. */
function wasReachedBy(before: VbucketPosition, { failoverLog }: VbucketPosition): boolean {
  // Newest first: a branch ended where the next one in front of it began.
  const at = failoverLog.findIndex(({ vbuuid }) => vbuuid === before.vbuuid)
  return at >= 0 && before.seqno <= (failoverLog[at - 1]?.seqno ?? Infinity)
}

function byVbucket<T extends { readonly vbid: number }>(list: readonly T[]): Map<number, T> {
  return new Map(list.map(item => [item.vbid, item]))
}
