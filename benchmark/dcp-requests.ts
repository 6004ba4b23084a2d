/** The requests of a DCP client, as whole frames; their opaque is the connection's business. */
import { seqnoInfinity } from '../protocol/bytes.ts'
import { encodeFeatures } from '../protocol/commands/index.ts'
import {
  bufferAcknowledgementLength,
  dcpControlLength,
  dcpOpenLength,
  DcpOpenFlag,
  encodeBufferAcknowledgement,
  encodeDcpControl,
  encodeDcpOpen,
  encodeStreamRequest,
  streamRequestLength,
} from '../protocol/dcp/index.ts'
import { Feature } from '../protocol/feature.ts'
import { Opcode } from '../protocol/opcode.ts'
import { encodeRequest } from '../protocol/requests.ts'

/** What a client has of a vbucket. */
export interface Position {
  readonly vbuuid: bigint
  readonly seqno: number
  readonly snapshotStartSeqno: number
  readonly snapshotEndSeqno: number
}

/** Of a client that has nothing. */
export const beginning: Position = {
  vbuuid: 0n,
  seqno: 0,
  snapshotStartSeqno: 0,
  snapshotEndSeqno: 0,
}

/** With collections, a backfill is sent as it lies on disk. */
export function helloRequest(): Buffer {
  return encodeRequest({ opcode: Opcode.hello, value: encodeFeatures([Feature.collections]) })
}

export function openRequest(name: string): Buffer {
  const fields = { opaque: 0, flags: DcpOpenFlag.producer, name, value: '' }
  const request = Buffer.alloc(dcpOpenLength(fields))
  encodeDcpOpen(request, 0, fields)
  return request
}

export function controlRequest(key: string, value: string): Buffer {
  const fields = { opaque: 0, key, value }
  const request = Buffer.alloc(dcpControlLength(fields))
  encodeDcpControl(request, 0, fields)
  return request
}

/** `flags` as in `StreamRequestFlag`. */
export function streamRequest(vbid: number, flags: number, from: Position = beginning): Buffer {
  const { seqno: startSeqno, ...history } = from
  const fields = {
    opaque: 0,
    vbid,
    flags,
    startSeqno,
    endSeqno: seqnoInfinity,
    ...history,
    value: '',
  }
  const request = Buffer.alloc(streamRequestLength(fields))
  encodeStreamRequest(request, 0, fields)
  return request
}

export function acknowledgement(count: number): Buffer {
  const message = Buffer.alloc(bufferAcknowledgementLength)
  encodeBufferAcknowledgement(message, 0, { opaque: 0, vbid: 0, bytes: count })
  return message
}
