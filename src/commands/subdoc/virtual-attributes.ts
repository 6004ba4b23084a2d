/** Attributes that lie nowhere: the server makes them up from what it knows of a document. */
import { uint64From } from '../../../protocol/bytes.ts'
import { Datatype, datatypeName } from '../../../protocol/datatype.ts'
import { decodeXattrs, isSystemXattr } from '../../../protocol/xattrs.ts'
import type { Vbucket } from '../../vbucket/vbucket.ts'
import { crc32c } from '../../checksum.ts'
import { hexString } from './macros.ts'
import { shownCas, type Version } from './version.ts'

export interface Surroundings {
  readonly vbucket: Vbucket
  readonly nowMs: number
  /** Undefined while the document does not exist. */
  readonly version: Version | undefined
  /** Whether attributes of the system may be known of. */
  readonly seesSystem: boolean
}

type Attribute = (surroundings: Surroundings) => object

/** What a document that does not exist yet tells of itself. */
const nothingYet: Version = {
  isDeleted: false,
  isLocked: false,
  casHigh: 0,
  casLow: 0,
  seqno: 0,
  revno: 0,
  flags: 0,
  expiry: 0,
  datatype: Datatype.raw,
  xattrs: Buffer.alloc(0),
  body: Buffer.alloc(0),
  bodyIsJson: false,
}

const nanosecondsPerSecond = 1_000_000_000n

/** All of it about the version that is there; numbers of 64 bits as text. */
const document: Attribute = ({ vbucket, version = nothingYet }) => {
  const { body } = version
  const cas = uint64From(...shownCas(version))
  return {
    CAS: hexString(cas, 16),
    datatype: datatypeName(version.datatype).split(','),
    deleted: version.isDeleted,
    exptime: version.expiry,
    flags: version.flags,
    last_modified: String(cas / nanosecondsPerSecond),
    revid: String(version.revno),
    seqno: hexString(version.seqno, 16),
    value_bytes: body.length,
    value_crc32c: hexString(crc32c(body, 0, body.length), 8),
    vbucket_uuid: hexString(vbucket.failoverLog.vbuuid, 16),
  }
}

/** The clock that the next CAS of the vbucket comes from, in seconds; `logical`: ahead of time. */
const hybridClock: Attribute = ({ vbucket, nowMs }) => {
  const now = BigInt(Math.floor(nowMs)) * 1_000_000n
  const { maxCas } = vbucket
  // Its last 16 bits count what happened within one tick.
  const isReal = maxCas - (maxCas % 0x1_0000n) <= now
  const seconds = (isReal ? now : maxCas) / nanosecondsPerSecond
  return { HLC: { mode: isReal ? 'real' : 'logical', now: String(seconds) } }
}

/** The keys of the attributes that are there. */
const contents: Attribute = ({ version = nothingYet, seesSystem }) =>
  (decodeXattrs(version.xattrs) ?? [])
    .filter(({ key }) => seesSystem || !isSystemXattr(key))
    .map(({ key }) => key.toString())

const attributes: Readonly<Record<string, Attribute>> = {
  $document: document,
  $vbucket: hybridClock,
  $XTOC: contents,
}

/** An object with the attribute as its one member, as JSON; undefined if there is none of the name. */
export function virtualAttribute(name: string, surroundings: Surroundings): Buffer | undefined {
  if (!Object.hasOwn(attributes, name)) return undefined
  return Buffer.from(JSON.stringify({ [name]: attributes[name]!(surroundings) }))
}
