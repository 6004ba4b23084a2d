/** Commands about vbuckets: their states, histories and how far they have come. */
import {
  decodeAllVbSeqnosRequest,
  decodeCompactDb,
  decodeObserveSeqnoRequest,
  decodeSeqnoPersistence,
  decodeSetVbucketExtras,
  deleteVbucketSynchronously,
  encodeObserveSeqnoResponse,
  encodeVbSeqnos,
  encodeVbucketStateValue,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { encodeFailoverLog } from '../../protocol/dcp/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Frame } from '../../protocol/frame.ts'
import { defaultCollection } from '../storage/record-key.ts'
import { StatusError } from '../errors.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { refuseUnknown } from './collections.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { recordAct } from './recorded-act.ts'
import { reply } from './reply.ts'
import type { Reply, Session } from './session.ts'

const persistenceTimeoutMs = 30_000

function getVbucket(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  return reply(session, frame, { value: encodeVbucketStateValue(vbucket.state) })
}

async function setVbucket(session: Session, frame: Frame): Promise<Reply> {
  const state = decodeSetVbucketExtras(frame)
  if (state === undefined) throw new StatusError(Status.invalidArguments, 'no such state')
  // The value tells a cluster's nodes about replication, which a lone node has none of.
  if (frame.valueLength > 0 && (frame.datatype & Datatype.json) === 0) {
    throw new StatusError(Status.invalidArguments, 'the value has to be JSON')
  }
  const { vbid } = frame
  const bucket = session.bucket!
  await bucket.setState(vbid, state)
  recordAct(session, 'vbucket-set', bucket.name, { vbid, state })
  return {}
}

async function deleteVbucket(session: Session, frame: Frame): Promise<Reply> {
  const { bucket, log, id } = session
  const { vbid } = frame
  const isDeleted = bucket!.deleteVbucket(vbid)
  recordAct(session, 'vbucket-deleted', bucket!.name, { vbid })
  if (frame.value().toString() === deleteVbucketSynchronously) {
    await isDeleted
    return {}
  }
  isDeleted.catch((err: unknown) => {
    log.error({ connection: id, bucket: bucket!.name, vbid, err }, 'deleting a vbucket failed')
  })
  return {}
}

function getFailoverLog(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  return reply(session, frame, { value: encodeFailoverLog(vbucket.failoverLog.entries) })
}

/**
 * Without a state all but dead vbuckets are listed. Of the seqnos that other collections take a
 * client that knows of none sees nothing.
 */
function getAllVbSeqnos(session: Session, frame: Frame): Outcome {
  const request = decodeAllVbSeqnosRequest(frame)
  if (request === undefined) {
    session.errorContext = 'no such vbucket state'
    return Status.invalidArguments
  }
  const isAware = session.features.collections
  if (request.collection && !isAware) {
    session.errorContext = 'collections are for those who asked for them in HELLO'
    return Status.invalidArguments
  }
  const collection = request.collection ?? (isAware ? undefined : defaultCollection)
  const { collections } = session.bucket!
  if (collection !== undefined && collections.manifest.collection(collection) === undefined) {
    return refuseUnknown(session, frame, Status.unknownCollection)
  }
  const seqnos = []
  for (const vbucket of session.bucket!.vbuckets()) {
    const { id: vbid, state } = vbucket
    const isWanted =
      request.state === undefined ? state !== VbucketState.dead : state === request.state
    const seqno =
      collection === undefined ? vbucket.highSeqno : vbucket.collections.highSeqno(collection)
    if (isWanted) seqnos.push({ vbid, seqno })
  }
  return reply(session, frame, { value: encodeVbSeqnos(seqnos) })
}

/** Asked about a history that has ended, the answer tells where it did. */
function observeSeqno(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  const asked = decodeObserveSeqnoRequest(frame)
  if (asked === undefined) {
    session.errorContext = 'the value is a vbucket uuid'
    return Status.invalidArguments
  }
  if (vbucket.persistedSeqno < vbucket.highSeqno) session.bucket!.commitSoon()
  const { entries, vbuuid } = vbucket.failoverLog
  const place = entries.findIndex(entry => entry.vbuuid === asked)
  if (place < 0) return Status.keyNotFound
  const value = encodeObserveSeqnoResponse({
    vbid: vbucket.id,
    vbuuid,
    persistedSeqno: vbucket.persistedSeqno,
    currentSeqno: vbucket.highSeqno,
    failover: place === 0 ? undefined : { oldVbuuid: asked, lastSeqno: entries[place - 1]!.seqno },
  })
  return reply(session, frame, { value })
}

/** Answers once everything up to the seqno is on disk, also what has yet to be written. */
async function seqnoPersistence(session: Session, frame: Frame): Promise<Reply> {
  const seqno = decodeSeqnoPersistence(frame)!
  const patience = new AbortController()
  const giveUp = (why: string) => patience.abort(new StatusError(Status.temporaryFailure, why))
  const timer = session.clock.after(persistenceTimeoutMs, () => {
    giveUp(`seqno ${seqno} is not on disk yet`)
  })
  const forget = session.whenGone(() => giveUp('the client is gone'))
  try {
    await session.bucket!.whenPersisted(frame.vbid, seqno, patience.signal)
  } finally {
    timer.cancel()
    forget()
  }
  return {}
}

async function compactDb(session: Session, frame: Frame): Promise<Reply> {
  const request = decodeCompactDb(frame)
  if (request === undefined) {
    throw new StatusError(Status.invalidArguments, 'malformed compaction request')
  }
  const { purgeBeforeTimeSeconds, purgeBeforeSeqno, dropDeletes } = request
  const { vbid } = frame
  const bucket = session.bucket!
  const purgeBeforeSeconds = purgeBeforeTimeSeconds
  await bucket.compact(vbid, { purgeBeforeSeconds, purgeBeforeSeqno, dropDeletes })
  recordAct(session, 'vbucket-compacted', bucket.name, { vbid })
  return {}
}

const plain = { extras: [0], key: 'none', value: 'none' } as const
const reading = { ...plain, target: 'vbucket', privilege: Privilege.seqnos } as const
const changing = { ...plain, target: 'bucket', privilege: Privilege.admin, barrier: true } as const

export const vbucketRows: readonly CommandRow[] = [
  { ...reading, opcode: Opcode.getVbucket, run: getVbucket },
  { ...reading, opcode: Opcode.getFailoverLog, run: getFailoverLog },
  {
    ...changing,
    opcode: Opcode.setVbucket,
    extras: [1, 4],
    value: 'optional',
    runLater: setVbucket,
  },
  {
    ...changing,
    opcode: Opcode.delVbucket,
    value: 'optional',
    target: 'vbucket',
    runLater: deleteVbucket,
  },
  {
    ...reading,
    opcode: Opcode.getAllVbSeqnos,
    extras: [0, 4, 8],
    cas: 'none',
    target: 'bucket',
    run: getAllVbSeqnos,
  },
  { ...reading, opcode: Opcode.observeSeqno, value: 'required', run: observeSeqno },
  {
    ...reading,
    opcode: Opcode.seqnoPersistence,
    extras: [8],
    runLater: seqnoPersistence,
  },
  {
    ...reading,
    opcode: Opcode.compactDb,
    extras: [24],
    privilege: Privilege.admin,
    runLater: compactDb,
  },
]
