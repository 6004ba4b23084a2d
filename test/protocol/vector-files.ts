import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import {
  Datatype,
  datatypeName,
  Magic,
  Opcode,
  opcodeName,
  seqnoInfinity,
  Status,
  statusName,
} from '../../protocol/index.ts'
import type { Frame, MessageFields, OpcodeName, StatusName } from '../../protocol/index.ts'

/**
 * The files of `test/vectors`: frames written by hand as hexadecimal text, with what they mean.
 *
 * A row of hex may end with `; a comment`. Values that JSON lacks are written as
 * `{"bigint":"0x1"}`, `{"text":"bytes of text"}`, `{"hex":"00ff"}` and `{"seqno":"infinity"}`.
 */
export interface VectorFile {
  readonly file: string
  readonly codec: string
  readonly about: string
  readonly vectors: readonly Vector[]
}

export interface Vector {
  readonly name: string
  readonly hex: readonly string[]
  /** What is left of the frame beside the part the codec reads; absent for whole messages. */
  readonly frame?: FrameDescription
  readonly fields?: unknown
  /** The encoder writes this message in another, newer form. */
  readonly decodeOnly?: boolean
}

/** A frame that has to be refused. */
export interface RefusedVector {
  readonly name: string
  readonly hex: readonly string[]
  /** The codec that refuses it; none for bytes that are no frame at all. */
  readonly codec?: string
  readonly kind?: string
  readonly reader?: 'error' | 'wait' | 'malformed' | 'oversized'
}

/** Header fields by their names; those that are zero or empty are left out. */
export interface FrameDescription {
  magic: string
  opcode: OpcodeName | number
  vbid?: number
  status?: StatusName
  opaque?: number
  cas?: string
  datatype?: string
  framing?: string
  extras?: string
  key?: string
  value?: string
}

const folder = resolve(import.meta.dirname, '../../../test/vectors')
const refusedFrames = 'refused-frames.json'
const refusedMessages = 'refused-messages.json'

function readJson(file: string): unknown {
  return JSON.parse(readFileSync(join(folder, file), 'utf8'), revive)
}

function revive(_name: string, value: unknown): unknown {
  if (typeof value !== 'object' || value === null || Object.keys(value).length !== 1) return value
  const { bigint, text, hex, seqno } = value as Record<string, unknown>
  if (typeof bigint === 'string') return BigInt(bigint)
  if (typeof text === 'string') return Buffer.from(text)
  if (typeof hex === 'string') return Buffer.from(hex, 'hex')
  if (seqno === 'infinity') return seqnoInfinity
  return value
}

export function readVectorFiles(): VectorFile[] {
  return readdirSync(folder)
    .filter(file => file !== refusedFrames && file !== refusedMessages)
    .sort()
    .map(file => ({ file, ...(readJson(file) as Omit<VectorFile, 'file'>) }))
}

export function readRefusedFrames(): readonly RefusedVector[] {
  return (readJson(refusedFrames) as { vectors: RefusedVector[] }).vectors
}

export function readRefusedMessages(): readonly RefusedVector[] {
  return (readJson(refusedMessages) as { vectors: RefusedVector[] }).vectors
}

export function vectorBytes(vector: Pick<Vector, 'hex' | 'name'>): Buffer {
  const hex = vector.hex.map(row => row.replace(/;.*$/, '').replaceAll(/\s/g, '')).join('')
  if (!/^([0-9a-f]{2})*$/.test(hex)) throw new Error(`${vector.name}: not hexadecimal`)
  return Buffer.from(hex, 'hex')
}

const magicName = (magic: number) =>
  Object.entries(Magic).find(([, value]) => value === magic)?.[0] ?? `magic ${magic}`

export function describeFrame(frame: Frame): FrameDescription {
  const { magic, opcode, vbid, status, opaque, cas, datatype, isRequest } = frame
  const ofServer = magic === Magic.serverRequest || magic === Magic.serverResponse
  const name = opcodeName(opcode) as OpcodeName
  return {
    magic: magicName(magic),
    opcode: ofServer || !Object.hasOwn(Opcode, name) ? opcode : name,
    ...(isRequest && vbid !== 0 && { vbid }),
    ...(!isRequest && { status: statusName(status) as StatusName }),
    ...(opaque !== 0 && { opaque }),
    ...(cas !== 0n && { cas: `0x${cas.toString(16)}` }),
    ...(datatype !== 0 && { datatype: datatypeName(datatype) }),
    ...(frame.framingLength > 0 && { framing: frame.framing().toString('hex') }),
    ...(frame.extrasLength > 0 && { extras: frame.extras().toString('hex') }),
    ...(frame.keyLength > 0 && { key: frame.key().toString() }),
    ...(frame.valueLength > 0 && { value: frame.value().toString() }),
  }
}

/** The way back: what `encodeRequest` and its like take. */
export function describedFields(
  description: FrameDescription,
): MessageFields & { vbid: number; status: number } {
  const { opcode, status, datatype, cas, framing, extras } = description
  const bits = (datatype ?? 'raw').split(',') as (keyof typeof Datatype)[]
  return {
    opcode: typeof opcode === 'number' ? opcode : Opcode[opcode],
    vbid: description.vbid ?? 0,
    status: Status[status ?? 'success'],
    opaque: description.opaque ?? 0,
    cas: BigInt(cas ?? 0),
    datatype: bits.reduce((all, bit) => all | Datatype[bit], 0),
    key: description.key ?? '',
    value: description.value ?? '',
    extras: Buffer.from(extras ?? '', 'hex'),
    framing: Buffer.from(framing ?? '', 'hex'),
  }
}
