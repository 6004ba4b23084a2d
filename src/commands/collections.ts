/** The manifest of a bucket's collections, and the ids that its names stand for. */
import { encodeFoundId } from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { defaultName, isName } from '../vbucket/collections/manifest.ts'
import { Privilege, type CommandRow, type Outcome } from './command.ts'
import { recordAct } from './recorded-act.ts'
import { reply } from './reply.ts'
import type { Reply, Session } from './session.ts'

async function setCollections(session: Session, frame: Frame): Promise<Reply> {
  const { bucket, id, log } = session
  await bucket!.collections.set(frame.value().toString())
  const { uidText } = bucket!.collections.manifest
  log.info({ connection: id, bucket: bucket!.name, manifest: uidText }, 'collections set')
  recordAct(session, 'collections-set', bucket!.name)
  return {}
}

function getCollections(session: Session, frame: Frame): Outcome {
  const value = JSON.stringify(session.bucket!.collections.manifest)
  return reply(session, frame, { value, datatype: jsonFor(session) })
}

/** The value, or the key, is `scope.collection`; a name that is left out is the default one's. */
function getCollectionId(session: Session, frame: Frame): Outcome {
  const names = pathIn(frame)
  if (names.length !== 2 || !names.every(isName)) {
    session.errorContext = 'what is asked for is scope.collection'
    return Status.invalidArguments
  }
  const { manifest } = session.bucket!.collections
  const scope = manifest.scopeNamed(names[0]!)
  if (scope === undefined) return refuseUnknown(session, frame, Status.unknownScope)
  const collection = scope.collections.find(({ name }) => name === names[1])
  if (collection === undefined) return refuseUnknown(session, frame, Status.unknownCollection)
  const extras = encodeFoundId({ manifestUid: manifest.uid, id: collection.id })
  return reply(session, frame, { extras })
}

/** A collection behind the scope is not looked at. */
function getScopeId(session: Session, frame: Frame): Outcome {
  const names = pathIn(frame)
  if (names.length > 2 || !isName(names[0]!)) {
    session.errorContext = 'what is asked for is the name of a scope'
    return Status.invalidArguments
  }
  const { manifest } = session.bucket!.collections
  const scope = manifest.scopeNamed(names[0]!)
  if (scope === undefined) return refuseUnknown(session, frame, Status.unknownScope)
  const extras = encodeFoundId({ manifestUid: manifest.uid, id: scope.id })
  return reply(session, frame, { extras })
}

function pathIn(frame: Frame): string[] {
  const path = (frame.valueLength > 0 ? frame.value() : frame.key()).toString()
  return path.split('.').map(name => (name === '' ? defaultName : name))
}

/**
 * Refuses what names a collection or scope that there is not, with the uid of the manifest in which
 * it was looked for: a client that knows a newer one asks again later.
 */
export function refuseUnknown(
  session: Session,
  frame: Frame,
  status: typeof Status.unknownCollection | typeof Status.unknownScope,
): Outcome {
  const { features, bucket } = session
  if (!features.collections && !features.xerror) return status
  const value = unknownBody(bucket!.collections.manifest.uidText)
  return reply(session, frame, { status, value, datatype: Datatype.json })
}

export function unknownBody(manifestUid: string): Buffer {
  return Buffer.from(JSON.stringify({ manifest_uid: manifestUid }))
}

function jsonFor(session: Session): number {
  return session.features.json ? Datatype.json : Datatype.raw
}

const row = { extras: [0], cas: 'none', target: 'bucket' } as const
const asking = { ...row, privilege: Privilege.seqnos } as const

export const collectionRows: readonly CommandRow[] = [
  {
    ...row,
    opcode: Opcode.setCollectionsManifest,
    key: 'none',
    value: 'required',
    privilege: Privilege.admin,
    barrier: true,
    runLater: setCollections,
  },
  {
    ...asking,
    opcode: Opcode.getCollectionsManifest,
    key: 'none',
    value: 'none',
    run: getCollections,
  },
  {
    ...asking,
    opcode: Opcode.getCollectionId,
    key: 'optional',
    value: 'optional',
    run: getCollectionId,
  },
  { ...asking, opcode: Opcode.getScopeId, key: 'optional', value: 'optional', run: getScopeId },
]
