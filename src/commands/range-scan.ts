/** Range scans: begun, continued and cancelled. What they do is in the vbucket layer. */
import {
  decodeOptionalUint32Extras,
  decodeRangeScanCancel,
  decodeRangeScanContinue,
  decodeScannedKeys,
  encodeKeyList,
  RangeScanContent,
  rangeScanContinueExtrasLength,
  rangeScanIdLength,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { StatusError } from '../errors.ts'
import { defaultCollection } from '../storage/record-key.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { keysFrom, readRangeScan } from './range-scan-request.ts'
import { reply, uint32Extras } from './reply.ts'
import type { Reply, Session } from './session.ts'

const keysDefault = 1000

/** All attributes of a document come together, those of the system among them. */
function assertMaySee({ privileges }: Session, includeXattrs: boolean): void {
  if (!includeXattrs || (privileges & Privilege.systemRead) !== 0) return
  throw new StatusError(Status.accessDenied, 'your roles do not include attributes of the system')
}

async function create(session: Session, frame: Frame, vbucket: Vbucket): Promise<Reply> {
  if (frame.datatype !== Datatype.json || !session.features.json) {
    throw new StatusError(Status.invalidArguments, 'the value and its datatype have to be JSON')
  }
  const request = readRangeScan(frame.value().toString(), session.features)
  assertMaySee(session, request.form.includeXattrs)
  const { rangeScans, collections } = session.bucket!
  const { collection } = request
  const isKnown = collection === defaultCollection || session.features.collections
  if (!isKnown || collections.manifest.collection(collection) === undefined) {
    throw new StatusError(Status.unknownCollection, 'there is no such collection')
  }
  const id = await rangeScans.create(vbucket, request)
  return { value: Buffer.from(id, 'hex') }
}

async function goOn(session: Session, frame: Frame, vbucket: Vbucket): Promise<Reply> {
  const { scanId, ...limits } = decodeRangeScanContinue(frame)!
  const { rangeScans } = session.bucket!
  const forget = session.whenGone(() => rangeScans.abandon(scanId))
  try {
    const { bytes, keyOnly, isEnd } = await rangeScans.continue(vbucket.id, scanId, limits)
    const content = keyOnly ? RangeScanContent.keys : RangeScanContent.documents
    return {
      status: isEnd ? Status.rangeScanComplete : Status.rangeScanMore,
      extras: uint32Extras(content),
      value: bytes,
    }
  } finally {
    forget()
  }
}

function cancel(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  session.bucket!.rangeScans.cancel(vbucket.id, decodeRangeScanCancel(frame)!)
  return reply(session, frame)
}

/** GET_KEYS: what is committed, from a key on. */
async function getKeys(session: Session, frame: Frame, vbucket: Vbucket): Promise<Reply> {
  const countMax = frame.extrasLength === 0 ? keysDefault : decodeOptionalUint32Extras(frame)!
  const request = keysFrom(frame.key().toString('latin1'))
  const keys = await session.bucket!.rangeScans.firstKeys(vbucket, request, countMax)
  return { value: encodeKeyList(decodeScannedKeys(keys)!) }
}

const scanning = {
  extras: [0],
  key: 'none',
  value: 'none',
  cas: 'none',
  target: 'active',
  privilege: Privilege.read,
} as const

export const rangeScanRows: readonly CommandRow[] = [
  {
    ...scanning,
    opcode: Opcode.getKeys,
    extras: [0, 4],
    key: 'required',
    runLater: getKeys,
  },
  { ...scanning, opcode: Opcode.rangeScanCreate, value: 'required', runLater: create },
  {
    ...scanning,
    opcode: Opcode.rangeScanContinue,
    extras: [rangeScanContinueExtrasLength],
    runLater: goOn,
  },
  {
    ...scanning,
    opcode: Opcode.rangeScanCancel,
    extras: [rangeScanIdLength],
    run: cancel,
  },
]
