/**
 * Brings into LMDB, when a bucket is opened, what its journal has and LMDB does not. A change is
 * taken if it is the next one of the history that its vbucket is in: what a vbucket of the same
 * number had before it was removed or emptied is not.
 */
import { readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { Applier } from './apply.ts'
import type { Environment } from './environment.ts'
import { journalFileNames, readBlocks, recordsIn, type Block } from './journal-format.ts'
import type { RecordView } from './record.ts'
import { syncDirectory } from './sync-directory.ts'

/**
 * Returns how many changes it brought; the journal is removed. `nowSeconds` is when tombstones
 * that it brings begin to age.
 */
export function replayJournal(
  directory: string,
  environments: readonly Environment[],
  nowSeconds: number,
): number {
  const uses = journalFileNames
    .map(name => [...readBlocks(readIfThere(join(directory, name)))])
    .filter(blocks => blocks.length > 0)
    .sort(([one], [other]) => one!.sequence - other!.sequence)
  let count = 0
  for (const [index, environment] of environments.entries()) {
    if (uses.length === 0) break
    const isOwn = (vbid: number) => vbid % environments.length === index
    count += replayInto(environment, uses, isOwn, nowSeconds)
  }
  for (const name of journalFileNames) rmSync(join(directory, name), { force: true })
  syncDirectory(directory)
  return count
}

function readIfThere(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return Buffer.alloc(0)
    throw error
  }
}

function replayInto(
  environment: Environment,
  uses: readonly Block[][],
  isOwn: (vbid: number) => boolean,
  nowSeconds: number,
): number {
  const applier = new Applier(environment)
  let count = 0
  environment.write(() => {
    applier.begin()
    for (const { record, vbuuid } of recordsOf(uses)) {
      const { vbid, seqno, cas } = record
      const vbucket = isOwn(vbid) ? applier.vbucket(vbid) : undefined
      if (vbucket === undefined || seqno !== vbucket.highSeqno + 1) continue
      if (vbuuid === undefined) continue
      if (vbucket.failoverLog[0]?.vbuuid !== vbuuid.toString(16)) continue
      applier.apply(record, nowSeconds)
      applier.advance(vbid, seqno, cas)
      count++
    }
    applier.finish()
  })
  applier.committed()
  return count
}

/** Every record, in the order in which it was written, and the history that it belongs to. */
function* recordsOf(
  uses: readonly Block[][],
): Generator<{ record: RecordView; vbuuid: bigint | undefined }> {
  for (const blocks of uses) {
    const histories = new Map<number, bigint>()
    for (const { vbuuids, entries } of blocks) {
      for (const [vbid, vbuuid] of vbuuids) histories.set(vbid, vbuuid)
      for (const record of recordsIn(entries)) yield { record, vbuuid: histories.get(record.vbid) }
    }
  }
}
