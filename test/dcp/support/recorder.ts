/** Reads what a connection brings, message by message, whatever collections and streams it is of. */
import { strict as assert } from 'node:assert'
import {
  decodeCollectionEvent,
  decodeScopeEvent,
  decodeSnapshotMarker,
  decodeStreamEnd,
  decodeSystemEvent,
} from '../../../protocol/dcp/index.ts'
import { decodeRequestFraming, RequestFraming } from '../../../protocol/framing.ts'
import { FrameReader } from '../../../protocol/frame-reader.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { readLeb128 } from '../../../protocol/leb128.ts'
import { Opcode, opcodeName } from '../../../protocol/opcode.ts'

/** One message, as plain as it can be compared. */
export interface Message {
  what: string
  vbid: number
  opaque: number
  streamId: number
  seqno: number
  /** Of a change or an event. */
  collection?: number
  key?: string
  value?: string
  /** Of a marker. */
  start?: number
  /** Of an event, its number; of a stream's end, why. */
  code?: number
  scope?: number
  manifest?: bigint
}

export class Recorder {
  readonly messages: Message[] = []
  readonly #reader = new FrameReader({ maxBodyBytes: 2 ** 25, skipBodyBytes: 2 ** 25 })
  readonly #isAware: boolean

  constructor(isAware: boolean) {
    this.#isAware = isAware
  }

  read(bytes: Buffer): void {
    const error = this.#reader.read(bytes, frame => {
      if (frame.opcode !== Opcode.dcpNoop) this.messages.push(this.#message(frame))
    })
    assert.equal(error, undefined, 'only whole frames are sent')
  }

  /** Short forms, such as `mutation 8:key @3`, to be compared at a glance. */
  get lines(): string[] {
    return this.messages.map(line)
  }

  get ended(): boolean {
    return this.messages.at(-1)?.what === 'end'
  }

  /** The highest seqno that a stream's client has by now. */
  seqno(streamId = 0): number {
    const own = this.messages.filter(message => message.streamId === streamId)
    return own.reduce((seqno, { what, seqno: of }) => (what === 'marker' ? seqno : of), 0)
  }

  #message(frame: Frame): Message {
    const framing = new RequestFraming()
    assert.equal(decodeRequestFraming(frame, framing), undefined)
    const { vbid, opaque } = frame
    const common = { vbid, opaque, streamId: framing.streamId, seqno: 0 }
    if (frame.opcode === Opcode.dcpSnapshotMarker) {
      const { startSeqno: start, endSeqno: seqno } = decodeSnapshotMarker(frame)!
      return { ...common, what: 'marker', start, seqno }
    }
    if (frame.opcode === Opcode.dcpStreamEnd) {
      return { ...common, what: 'end', code: decodeStreamEnd(frame)!.reason }
    }
    const seqno = frame.extrasSeqno(0)
    if (frame.opcode === Opcode.dcpSeqnoAdvanced) return { ...common, what: 'advanced', seqno }
    if (frame.opcode === Opcode.dcpSystemEvent) return { ...common, ...eventOf(frame), seqno }
    const id = this.#isAware
      ? readLeb128(frame.bytes, frame.keyStart, frame.valueStart)!
      : undefined
    return {
      ...common,
      what: opcodeName(frame.opcode).replace('dcp', '').toLowerCase(),
      seqno,
      ...(id && { collection: id.value }),
      key: frame.key().toString('utf8', id?.length ?? 0),
      value: frame.value().toString(),
    }
  }
}

function eventOf(frame: Frame) {
  const event = decodeSystemEvent(frame)!
  const { scopeId: scope, manifestUid: manifest } =
    decodeCollectionEvent(event) ?? decodeScopeEvent(event)!
  const collection = decodeCollectionEvent(event)?.collectionId
  return {
    what: 'event',
    code: event.event,
    key: event.key.toString(),
    scope,
    manifest,
    ...(collection === undefined ? {} : { collection }),
  }
}

const eventNames: Readonly<Record<number, string>> = {
  0: 'collection created',
  1: 'collection dropped',
  3: 'scope created',
  4: 'scope dropped',
}

function line({ what, seqno, streamId, start, code, key, collection, scope }: Message): string {
  const prefix = streamId === 0 ? '' : `#${streamId} `
  if (what === 'marker') return `${prefix}marker ${start}..${seqno}`
  if (what === 'end') return `${prefix}end ${code}`
  if (what === 'advanced') return `${prefix}advanced @${seqno}`
  if (what === 'event') {
    const subject = collection === undefined ? `${scope}` : `${scope}.${collection}`
    return `${prefix}${eventNames[code!]} ${subject} ${key} @${seqno}`.replace('  ', ' ')
  }
  const place = collection === undefined ? '' : `${collection}:`
  return `${prefix}${what} ${place}${key} @${seqno}`
}
