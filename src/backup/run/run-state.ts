import { checkpointSchema, type Checkpoint, type Journals, type Plan } from './journal.ts'
import { decodeDocument } from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { BackupError } from '../errors.ts'
import type { ObjectStore } from '../store/object-store.ts'
import type { BackupContext } from './context.ts'
import type { Staged, Staging } from './staging.ts'

/** What an earlier run has left, from wherever it could be had. */
export interface RunState {
  readonly plan: Plan
  readonly journals: Journals
}

export const nothingJournalled = (): Journals => ({ vbuckets: new Map(), packs: new Map() })

type StateContext = Pick<BackupContext, 'store' | 'prefix' | 'backupId' | 'report'>

/**
 * What is known of an unfinished backup: from the staging folder; of what is missing or torn there,
 * and of all when it is lost, from the checkpoint in the archive.
 */
export async function loadState(context: StateContext, staging: Staging): Promise<RunState> {
  const { store, prefix, backupId, report } = context
  const staged = await staging.read()
  const usable = staged?.plan.backup === backupId ? staged : undefined
  const checkpoint = await readCheckpoint(store, `${prefix}${BackupFile.checkpoint}`, !usable)
  const isNewer = checkpoint && checkpoint.plan.runs > (usable?.plan.runs ?? 0)
  if (usable && !isNewer) return await completed(context, staging, usable, checkpoint)
  if (!checkpoint)
    throw new BackupError('unfinished', `nothing is left to resume ${backupId} from; use --purge`)
  const why = usable ? 'another run has gone on elsewhere' : 'the staging folder is lost'
  report({ type: 'note', message: `${why}: going on from the checkpoint` })
  const journals = {
    vbuckets: new Map(checkpoint.journals.map(journal => [journal.vbid, journal])),
    packs: new Map(checkpoint.packs.map(journal => [journal.number, journal])),
  }
  await staging.replace(journals)
  return { plan: checkpoint.plan, journals }
}

/** With the checkpoint's journals in the place of those that are missing or torn. */
async function completed(
  { report }: StateContext,
  staging: Staging,
  { plan, journals, unreadable }: Staged,
  checkpoint: Checkpoint | undefined,
): Promise<RunState> {
  let isLost = false
  const tell = (name: string, isKnown: boolean) => {
    const source = isKnown ? 'is taken from the checkpoint' : 'is lost: from the beginning'
    report({ type: 'note', message: `the journal of ${name} is torn, and ${source}` })
    isLost ||= !isKnown
  }
  const { vbuckets, packs } = journals
  const missing = (plan.uploads ?? []).filter(vbid => !vbuckets.has(vbid))
  for (const vbid of new Set([...unreadable.vbuckets, ...missing])) {
    const journal = checkpoint?.journals.find(known => known.vbid === vbid)
    tell(`vbucket ${vbid}`, journal !== undefined)
    if (!journal) continue
    await staging.writeJournal(journal)
    vbuckets.set(vbid, journal)
  }
  const missingPacks = (plan.packs ?? []).filter(number => !packs.has(number))
  for (const number of new Set([...unreadable.packs, ...missingPacks])) {
    const journal = checkpoint?.packs.find(known => known.number === number)
    tell(`pack ${number}`, journal !== undefined)
    if (!journal) continue
    await staging.writePack(journal)
    packs.set(number, journal)
  }
  await dropDoubles(staging, journals)
  // What is asked for again is asked for by the first step.
  return { plan: isLost ? { ...plan, steps: [] } : plan, journals }
}

/**
 * A checkpoint may be older than what its journals stand in for, and tell of vbuckets that have begun
 * again elsewhere since. Of two that tell of a vbucket either is true; the one that is further stays,
 * and of another the upload, or its bytes in the pack, are nobody's.
 */
async function dropDoubles(staging: Staging, { vbuckets, packs }: Journals): Promise<void> {
  const seqnos = new Map([...vbuckets].map(([vbid, { position }]) => [vbid, position.seqno]))
  const holders = new Map<number, number>()
  for (const { number, objects } of packs.values())
    for (const { vbid, position } of objects)
      if (position.seqno > (seqnos.get(vbid) ?? -1)) {
        seqnos.set(vbid, position.seqno)
        holders.set(vbid, number)
      }
  for (const vbid of holders.keys()) if (vbuckets.delete(vbid)) await staging.removeJournal(vbid)
  for (const pack of packs.values()) {
    const { number } = pack
    const objects = pack.objects.filter(({ vbid }) => holders.get(vbid) === number)
    if (objects.length === pack.objects.length) continue
    const next = { ...pack, objects }
    if (objects.length > 0) {
      await staging.writePack(next)
      packs.set(number, next)
    } else {
      await staging.removePack(number)
      packs.delete(number)
    }
  }
}

/** One that cannot be read matters only to who has nothing else. */
async function readCheckpoint(
  store: ObjectStore,
  key: string,
  isNeeded: boolean,
): Promise<Checkpoint | undefined> {
  const bytes = await store.get(key)
  try {
    return bytes && decodeDocument(checkpointSchema, bytes, key)
  } catch (error) {
    if (isNeeded) throw error
    return undefined
  }
}
