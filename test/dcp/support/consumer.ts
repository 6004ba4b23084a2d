/**
 * A client's side of its streams: reads frames, keeps the documents and the position of each
 * vbucket, asks again from where it is, and checks what a stream promises on the way.
 */
import { strict as assert } from 'node:assert'
import {
  decodeSnapshotMarker,
  decodeStreamEnd,
  type SnapshotMarker,
} from '../../../protocol/dcp/index.ts'
import { FrameReader } from '../../../protocol/frame-reader.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import type { StreamRequest } from '../../../protocol/dcp/stream-request.ts'

export interface VbucketState {
  documents: Map<string, string>
  seqno: number
  uuid: bigint
  snapshotStart: number
  snapshotEnd: number
}

export interface SeenEnd {
  vbid: number
  reason: number
  opaque: number
}

const infinity = 2 ** 64

export class Consumer {
  readonly vbuckets = new Map<number, VbucketState>()
  readonly markers: SnapshotMarker[] = []
  readonly ends: SeenEnd[] = []
  readonly noops: number[] = []
  /** Opcode and seqno of every change, in the order of arrival. */
  readonly changes: { vbid: number; opcode: number; seqno: number; key: string; bytes: number }[] =
    []
  readonly advanced: number[] = []
  /** Presents a marker as soon as it is there, before any change of its snapshot. */
  readonly isEager: boolean
  /** Bytes of frames that flow control counts. */
  countedBytes = 0
  #reader = newReader()
  #open = new Map<
    number,
    { opaque: number; marker: SnapshotMarker | undefined; keys: Set<string> }
  >()
  readonly #asked = new Map<number, number>()
  #nextOpaque = 100

  constructor(options: { isEager?: boolean } = {}) {
    this.isEager = options.isEager ?? false
  }

  state(vbid: number): VbucketState {
    let state = this.vbuckets.get(vbid)
    if (state === undefined) {
      state = { documents: new Map(), seqno: 0, uuid: 0n, snapshotStart: 0, snapshotEnd: 0 }
      this.vbuckets.set(vbid, state)
    }
    return state
  }

  /** What it presents to go on. */
  request(vbid: number, more: Partial<StreamRequest> = {}): StreamRequest {
    const { seqno, uuid, snapshotStart, snapshotEnd } = this.state(vbid)
    const opaque = this.#nextOpaque++
    this.#asked.set(vbid, opaque)
    return {
      opaque,
      vbid,
      flags: 0,
      startSeqno: seqno,
      endSeqno: infinity,
      vbuuid: uuid,
      snapshotStartSeqno: snapshotStart,
      snapshotEndSeqno: snapshotEnd,
      value: '',
      ...more,
    }
  }

  accepted(vbid: number, failoverLog: Buffer): void {
    this.state(vbid).uuid = failoverLog.readBigUInt64BE(0)
    const opaque = this.#asked.get(vbid)!
    this.#open.set(vbid, { opaque, marker: undefined, keys: new Set() })
  }

  /** Gives up everything, as a rollback to 0 demands. */
  rollBack(vbid: number): void {
    this.vbuckets.delete(vbid)
  }

  /** A new connection: half a frame of the old one is worth nothing. */
  reconnect(): void {
    this.#reader = newReader()
    this.#open.clear()
  }

  read(bytes: Buffer): void {
    const error = this.#reader.read(bytes, frame => this.#visit(frame))
    assert.equal(error, undefined, 'only whole frames are sent')
  }

  #visit(frame: Frame): void {
    if (frame.opcode === Opcode.dcpNoop) {
      this.noops.push(frame.opaque)
      return
    }
    this.countedBytes += frame.end - frame.start
    const { vbid } = frame
    const stream = this.#open.get(vbid)
    assert.ok(stream, `a frame of vbucket ${vbid}, which has no stream`)
    assert.equal(frame.opaque, stream.opaque, 'every frame carries the opaque of its request')
    if (frame.opcode === Opcode.dcpStreamEnd) {
      this.ends.push(decodeStreamEnd(frame)!)
      this.#open.delete(vbid)
      return
    }
    if (frame.opcode === Opcode.dcpSnapshotMarker) {
      const marker = decodeSnapshotMarker(frame)!
      assert.ok(marker.startSeqno <= this.state(vbid).seqno, 'nothing is left out')
      assert.ok(marker.endSeqno > this.state(vbid).seqno, 'a snapshot brings something')
      stream.marker = marker
      if (this.isEager) {
        this.state(vbid).snapshotStart = marker.startSeqno
        this.state(vbid).snapshotEnd = marker.endSeqno
      }
      stream.keys = new Set()
      this.markers.push(marker)
      return
    }
    this.#change(frame, stream)
  }

  #change(frame: Frame, stream: { marker: SnapshotMarker | undefined; keys: Set<string> }): void {
    const { vbid, opcode } = frame
    const state = this.state(vbid)
    const { marker } = stream
    assert.ok(marker, 'a marker comes before the first change')
    const seqno = frame.extrasSeqno(0)
    assert.ok(seqno > state.seqno, `seqnos grow: ${seqno} behind ${state.seqno}`)
    assert.ok(seqno <= marker.endSeqno, 'and lie within their snapshot')
    state.seqno = seqno
    state.snapshotStart = marker.startSeqno
    state.snapshotEnd = marker.endSeqno
    if (opcode === Opcode.dcpSeqnoAdvanced) {
      this.advanced.push(seqno)
      return
    }
    const key = frame.key().toString()
    assert.ok(!stream.keys.has(key), `${key} is in its snapshot once`)
    stream.keys.add(key)
    this.changes.push({ vbid, opcode, seqno, key, bytes: frame.end - frame.start })
    if (opcode === Opcode.dcpMutation) state.documents.set(key, frame.value().toString())
    else state.documents.delete(key)
  }
}

function newReader(): FrameReader {
  return new FrameReader({ maxBodyBytes: 32 * 2 ** 20, skipBodyBytes: 32 * 2 ** 20 })
}
