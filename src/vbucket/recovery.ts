/**
 * What has to be mended when a bucket is opened: after an unclean stop changes may have been seen
 * by clients and lost, so every active vbucket begins a new history; and a vbucket whose removal
 * was cut short is removed for good.
 */
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Log } from '../log.ts'
import type { Random } from '../random.ts'
import { Applier } from '../storage/apply.ts'
import { dropSome } from '../storage/drop.ts'
import { storageError } from '../storage/storage-error.ts'
import { markClean, writeVbuckets, type OpenStore } from '../storage/store.ts'
import { FailoverLog } from './failover-log.ts'

const dropBatch = 5000

/** Says which files were mostly free when the bucket was opened. */
function tellCompactions({ compactions }: OpenStore, log: Log): void {
  for (const { failure, ...compaction } of compactions) {
    if (failure === undefined)
      log.info({ ...compaction }, 'a file that was mostly free is as small as it can be')
    else
      log.warn({ ...compaction, failure }, 'a file that is mostly free could not be written anew')
  }
}

export function recoverVbuckets(store: OpenStore, random: Random, log: Log): void {
  tellCompactions(store, log)
  for (const [vbid, record] of store.vbuckets) {
    if (!record.dropping) continue
    finishDrop(store, vbid)
    store.vbuckets.delete(vbid)
  }
  if (!store.wasUnclean) return
  for (const record of store.vbuckets.values()) {
    if (record.state !== VbucketState.active) continue
    const failoverLog = FailoverLog.fromJSON(record.failoverLog)
    failoverLog.branch(random.uint64(), record.highSeqno)
    record.failoverLog = failoverLog.toJSON()
  }
  writeVbuckets(store.environments, store.vbuckets)
  const bucket = store.description.name
  if (store.replayed > 0) {
    log.info({ bucket, changes: store.replayed }, 'changes were in the journal only: they are back')
  }
  log.warn({ bucket }, 'the last stop was not clean: active vbuckets begin a new history')
}

/** The last thing of a stop after which nothing has to be mended. */
export function noteCleanStop(
  { environments }: OpenStore,
  { directory, log }: { readonly directory: string; readonly log: Log },
): void {
  try {
    markClean(environments)
  } catch (error) {
    const { code, hint, message } = storageError(error, directory)
    log.error({ code, hint }, `cannot note that the stop was clean: ${message}`)
  }
}

function finishDrop(store: OpenStore, vbid: number): void {
  const environment = store.environments[vbid % store.environments.length]!
  let done = false
  while (!done) {
    environment.write(() => {
      done = dropSome(environment, vbid, dropBatch)
      if (done) new Applier(environment).forgetVbucket(vbid)
    })
  }
}
