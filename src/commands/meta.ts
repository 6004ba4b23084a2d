/** Metadata: read, and written along with a document by whoever moves it from elsewhere. */
import {
  decodeGetMetaVersion,
  decodeObserveRequest,
  decodeWithMeta,
  encodeMeta,
  encodeObserveResponse,
  GetMetaVersion,
  ObserveState,
  WithMetaOption,
  type WithMeta,
} from '../../protocol/commands/index.ts'
import { uint64From } from '../../protocol/bytes.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { RecordKind, type RecordView } from '../storage/record.ts'
import { isExpired } from '../vbucket/expiry.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { storedKey } from './document-key.ts'
import { Privilege, type CommandRow, type Outcome, type Run } from './command.ts'
import { replyMutation } from './mutation-reply.ts'
import { replyNotMyVbucket } from './cluster-config.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

/** Shown in place of the CAS while somebody holds a lock, who alone may know it. */
const lockedCas = 2n ** 64n - 1n

/** Also of tombstones: replication compares with those too. */
function getMeta(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  const version = decodeGetMetaVersion(frame)
  if (version === undefined) {
    session.errorContext = 'the extras are a version, 1 or 2'
    return Status.invalidArguments
  }
  const { bytes, keyStart, keyLength } = frame
  const record = session.documents.getMeta(vbucket, bytes, keyStart, keyLength)
  if (record === undefined) return Status.keyNotFound
  const { isDeletion, flags, revno, datatype } = record
  const isLocked = session.documents.isLocked(vbucket, bytes, keyStart, keyLength)
  const extras = encodeMeta({
    isDeleted: isDeletion || hasExpired(session, record),
    flags,
    expiry: isDeletion ? record.deleteTime : record.expiry,
    revno,
    datatype: version === GetMetaVersion.v2 ? datatype : undefined,
  })
  return reply(session, frame, { extras, cas: isLocked ? lockedCas : record.cas })
}

/** Whether it only has yet to be found that the document's time is over. */
function hasExpired(session: Session, record: RecordView): boolean {
  const nowSeconds = Math.floor(session.clock.nowMs() / 1000)
  return !record.isDeletion && isExpired(record.expiry, nowSeconds)
}

function observe(session: Session, frame: Frame): Outcome {
  const keys = decodeObserveRequest(frame)
  if (keys === undefined) {
    session.errorContext = 'the value is a list of keys with their vbuckets'
    return Status.invalidArguments
  }
  const states = []
  for (const { vbid, key } of keys) {
    const vbucket = session.bucket!.vbucket(vbid)
    if (!vbucket?.isActive) return replyNotMyVbucket(session, frame)
    const bytes = storedKey(session, key)
    if (bytes === undefined) {
      session.errorContext = 'a key begins with the id of its collection'
      return Status.invalidArguments
    }
    const record = session.documents.getMeta(vbucket, bytes, 0, bytes.length)
    let state: ObserveState = ObserveState.notFound
    if (record !== undefined) {
      const isPersisted = record.seqno <= vbucket.persistedSeqno
      if (!isPersisted) session.bucket!.commitSoon()
      if (hasExpired(session, record)) state = ObserveState.deleted
      else if (!record.isDeletion)
        state = isPersisted ? ObserveState.persisted : ObserveState.inMemory
      else if (!isPersisted) state = ObserveState.deleted
    }
    states.push({ vbid, key, state, cas: record?.cas ?? 0n })
  }
  return reply(session, frame, { value: encodeObserveResponse(states) })
}

const anyOption = Object.values(WithMetaOption).reduce((bits, option) => bits | option, 0)

/** What is wrong with the options, as revision-number conflict resolution has it. */
function optionsFault(options: number, isDeletion: boolean): string {
  const has = (option: number) => (options & option) !== 0
  if (has(~anyOption)) return `unknown options 0x${options.toString(16)}`
  if (has(WithMetaOption.forceAccept)) return 'conflicts are resolved by revision, not by time'
  if (has(WithMetaOption.regenerateCas) && !has(WithMetaOption.skipConflictResolution)) {
    return 'a new cas needs skipping of conflict resolution'
  }
  if (has(WithMetaOption.isExpiration) && !isDeletion) return 'only a deletion can be an expiration'
  return ''
}

function fault(session: Session, status: Status, context: string): Status {
  session.errorContext = context
  return status
}

function kindOf(isDeletion: boolean, options: number): RecordKind {
  if (!isDeletion) return RecordKind.mutation
  return options & WithMetaOption.isExpiration ? RecordKind.expiration : RecordKind.deletion
}

function requestOf(frame: Frame, meta: WithMeta, isDeletion: boolean, isAdd: boolean) {
  const options = meta.options ?? 0
  const skips = WithMetaOption.skipConflictResolution | WithMetaOption.force
  return {
    kind: kindOf(isDeletion, options),
    key: frame.bytes,
    keyStart: frame.keyStart,
    keyLength: frame.keyLength,
    value: frame.bytes,
    valueStart: frame.valueStart,
    valueLength: frame.valueLength - (meta.nmeta ?? 0),
    datatype: frame.datatype,
    flags: meta.flags,
    time: meta.expiry,
    revno: meta.revno,
    cas: uint64From(meta.casHigh, meta.casLow),
    expectedCas: frame.cas,
    isAdd,
    skipConflictResolution: (options & skips) !== 0,
    regenerateCas: (options & WithMetaOption.regenerateCas) !== 0,
  }
}

function writeWithMeta(kind: 'set' | 'add' | 'delete'): Run {
  const isDeletion = kind === 'delete'
  return (session, frame, vbucket, command) => {
    const meta = decodeWithMeta(frame)
    if (meta === undefined) {
      return fault(session, Status.invalidArguments, 'lengths of the metadata do not fit')
    }
    const wrong = optionsFault(meta.options ?? 0, isDeletion)
    if (wrong !== '') return fault(session, Status.invalidArguments, wrong)
    const request = requestOf(frame, meta, isDeletion, kind === 'add')
    const status = session.bucket!.metaWriter.write(vbucket, request)
    if (status === Status.success) return replyMutation(session, frame, vbucket, command)
    if (status === Status.xattrInvalid) session.errorContext = 'the attributes are not whole'
    return status
  }
}

const base = { key: 'required', target: 'active' } as const
const reading = {
  ...base,
  extras: [0, 1],
  value: 'none',
  privilege: Privilege.read,
  run: getMeta,
} as const
const writing = {
  ...base,
  extras: [24, 26, 28, 30],
  value: 'optional',
  privilege: Privilege.meta,
  writes: true,
  takesXattrs: true,
  takesSnappy: true,
} as const
const setting = { ...writing, run: writeWithMeta('set') }
const adding = { ...writing, run: writeWithMeta('add') }
const deleting = { ...writing, run: writeWithMeta('delete') }

export const metaRows: readonly CommandRow[] = [
  { ...reading, opcode: Opcode.getMeta },
  { ...reading, opcode: Opcode.getqMeta, quiet: 'miss' },
  { ...setting, opcode: Opcode.setWithMeta },
  { ...setting, opcode: Opcode.setqWithMeta, quiet: 'success' },
  { ...adding, opcode: Opcode.addWithMeta },
  { ...adding, opcode: Opcode.addqWithMeta, quiet: 'success' },
  { ...deleting, opcode: Opcode.delWithMeta },
  { ...deleting, opcode: Opcode.delqWithMeta, quiet: 'success' },
  {
    opcode: Opcode.observe,
    extras: [0],
    key: 'none',
    value: 'required',
    target: 'bucket',
    privilege: Privilege.read,
    run: observe,
  },
]
