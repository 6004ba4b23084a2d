import assert from 'node:assert/strict'
import * as protocol from '../../protocol/index.ts'
import { encodeMessage, RequestFraming } from '../../protocol/index.ts'
import type { Frame } from '../../protocol/index.ts'

/**
 * Every codec under the name the vector files call it by. `part` says what `encode` makes: the
 * extras, the value or the framing extras of a frame, or the whole frame.
 */
export interface Codec {
  readonly part: 'extras' | 'value' | 'framing' | 'message' | 'nothing'
  readonly decode: (frame: Frame) => unknown
  readonly encode: (fields: never) => Buffer
}

type Encoder<Fields> = (target: Uint8Array, offset: number, fields: Fields) => number

function extras<Fields>(
  decode: (frame: Frame) => Fields | undefined,
  encode: (fields: Fields) => Buffer,
): Codec {
  return { part: 'extras', decode, encode }
}

function value<Fields>(
  decode: (frame: Frame) => Fields | undefined,
  encode: (fields: Fields) => Buffer,
): Codec {
  return { part: 'value', decode, encode }
}

/** `length` of a message is checked by encoding into exactly that much, in the middle of more. */
function message<Fields>(
  decode: (frame: Frame) => Fields | undefined,
  encode: Encoder<Fields>,
  length: number | ((fields: Fields) => number),
): Codec {
  return {
    part: 'message',
    decode,
    encode(fields: Fields) {
      const size = typeof length === 'number' ? length : length(fields)
      const bytes = encodeMessage(encode, size, fields)
      const offset = 3
      const target = Buffer.alloc(offset + size + offset, 0xaa)
      assert.equal(encode(target, offset, fields), size, 'the encoder returns the length')
      assert.deepEqual(target.subarray(offset, offset + size), bytes, 'the offset is respected')
      assert.deepEqual(target.subarray(offset + size), Buffer.alloc(offset, 0xaa), 'and the end')
      return bytes
    },
  }
}

const keyAndValueLength =
  (length: (keyLength: number, valueLength: number) => number) =>
  (fields: { key: Uint8Array; value: Uint8Array }) =>
    length(fields.key.length, fields.value.length)

/** Only what differs from an empty one, so that vectors need not name every field. */
function decodeRequestFraming(frame: Frame): unknown {
  const framing = new RequestFraming()
  const error = protocol.decodeRequestFraming(frame, framing)
  if (error !== undefined) return error
  const empty = new Map<string, unknown>(Object.entries(new RequestFraming()))
  const isSet = ([name, part]: [string, unknown]) =>
    Array.isArray(part) ? part.length > 0 : part !== empty.get(name)
  return Object.fromEntries(Object.entries(framing).filter(isSet))
}

export const codecs: Readonly<Record<string, Codec>> = {
  plain: { part: 'nothing', decode: () => undefined, encode: () => Buffer.alloc(0) },

  storeExtras: extras(protocol.decodeStoreExtras, protocol.encodeStoreExtras),
  flagsExtras: extras(protocol.decodeFlagsExtras, protocol.encodeFlagsExtras),
  mutationToken: extras(protocol.decodeMutationToken, protocol.encodeMutationToken),
  counterExtras: extras(protocol.decodeCounterExtras, protocol.encodeCounterExtras),
  counterValue: value(protocol.decodeCounterValue, protocol.encodeCounterValue),
  uint32Extras: extras(protocol.decodeUint32Extras, protocol.encodeUint32Extras),
  meta: extras(protocol.decodeMeta, protocol.encodeMeta),
  getMetaVersion: extras(protocol.decodeGetMetaVersion, protocol.encodeGetMetaVersion),
  withMeta: extras(protocol.decodeWithMeta, protocol.encodeWithMeta),
  observeRequest: value(protocol.decodeObserveRequest, protocol.encodeObserveRequest),
  observeResponse: value(protocol.decodeObserveResponse, protocol.encodeObserveResponse),
  observeSeqnoRequest: value(
    protocol.decodeObserveSeqnoRequest,
    protocol.encodeObserveSeqnoRequest,
  ),
  observeSeqnoResponse: value(
    protocol.decodeObserveSeqnoResponse,
    protocol.encodeObserveSeqnoResponse,
  ),
  allVbSeqnosRequest: extras(protocol.decodeAllVbSeqnosRequest, protocol.encodeAllVbSeqnosRequest),
  vbSeqnos: value(protocol.decodeVbSeqnos, protocol.encodeVbSeqnos),
  setVbucketExtras: extras(protocol.decodeSetVbucketExtras, protocol.encodeSetVbucketExtras),
  vbucketStateValue: value(protocol.decodeVbucketStateValue, protocol.encodeVbucketStateValue),
  compactDb: extras(protocol.decodeCompactDb, protocol.encodeCompactDb),
  returnMeta: extras(protocol.decodeReturnMeta, protocol.encodeReturnMeta),
  returnedMeta: extras(protocol.decodeReturnedMeta, protocol.encodeReturnedMeta),
  keyList: value(protocol.decodeKeyList, protocol.encodeKeyList),
  rangeScanContinue: extras(protocol.decodeRangeScanContinue, protocol.encodeRangeScanContinue),
  rangeScanCancel: extras(protocol.decodeRangeScanCancel, protocol.encodeRangeScanCancel),
  seqnoPersistence: extras(protocol.decodeSeqnoPersistence, protocol.encodeSeqnoPersistence),
  features: value(protocol.decodeFeatures, protocol.encodeFeatures),
  createBucket: value(protocol.decodeCreateBucket, protocol.encodeCreateBucketValue),
  clusterConfigVersion: extras(
    protocol.decodeClusterConfigVersion,
    protocol.encodeClusterConfigVersion,
  ),
  errorMapVersion: value(protocol.decodeErrorMapVersion, protocol.encodeErrorMapVersion),
  randomKeyRequest: extras(protocol.decodeRandomKeyRequest, protocol.encodeRandomKeyRequest),
  errorContext: value(protocol.decodeErrorContext, protocol.encodeErrorContext),

  subdocExtras: extras(protocol.decodeSubdocExtras, protocol.encodeSubdocExtras),
  subdocMultiExtras: extras(protocol.decodeSubdocMultiExtras, protocol.encodeSubdocMultiExtras),
  subdocLookups: value(protocol.decodeSubdocLookups, protocol.encodeSubdocLookups),
  subdocMutations: value(protocol.decodeSubdocMutations, protocol.encodeSubdocMutations),
  subdocLookupResults: value(
    protocol.decodeSubdocLookupResults,
    protocol.encodeSubdocLookupResults,
  ),
  subdocMutationResults: value(
    protocol.decodeSubdocMutationResults,
    protocol.encodeSubdocMutationResults,
  ),

  requestFraming: {
    part: 'framing',
    decode: decodeRequestFraming,
    encode: protocol.encodeRequestFraming,
  },
  responseFraming: {
    part: 'framing',
    decode: protocol.decodeResponseFraming,
    encode: protocol.encodeResponseFraming,
  },

  rollbackSeqno: value(protocol.decodeRollbackSeqno, protocol.encodeRollbackSeqno),
  failoverLog: value(protocol.decodeFailoverLog, protocol.encodeFailoverLog),
  addedStream: extras(protocol.decodeAddedStream, protocol.encodeAddedStream),
  dcpOpen: message(protocol.decodeDcpOpen, protocol.encodeDcpOpen, protocol.dcpOpenLength),
  dcpControl: message(
    protocol.decodeDcpControl,
    protocol.encodeDcpControl,
    protocol.dcpControlLength,
  ),
  streamRequest: message(
    protocol.decodeStreamRequest,
    protocol.encodeStreamRequest,
    protocol.streamRequestLength,
  ),
  getFailoverLog: message(
    protocol.decodeGetFailoverLog,
    protocol.encodeGetFailoverLog,
    protocol.getFailoverLogLength,
  ),
  streamEnd: message(protocol.decodeStreamEnd, protocol.encodeStreamEnd, protocol.streamEndLength),
  snapshotMarker: message(
    protocol.decodeSnapshotMarker,
    protocol.encodeSnapshotMarker,
    ({ version }) => protocol.snapshotMarkerLength(version),
  ),
  mutation: message(
    protocol.decodeMutation,
    protocol.encodeMutation,
    keyAndValueLength(protocol.mutationLength),
  ),
  deletion: message(protocol.decodeDeletion, protocol.encodeDeletion, protocol.deletionLength),
  expiration: message(
    protocol.decodeExpiration,
    protocol.encodeExpiration,
    keyAndValueLength(protocol.expirationLength),
  ),
  bufferAcknowledgement: message(
    protocol.decodeBufferAcknowledgement,
    protocol.encodeBufferAcknowledgement,
    protocol.bufferAcknowledgementLength,
  ),
  dcpNoop: message(protocol.decodeDcpNoop, protocol.encodeDcpNoop, protocol.dcpNoopLength),
  closeStream: message(
    protocol.decodeCloseStream,
    protocol.encodeCloseStream,
    protocol.closeStreamLength,
  ),
  addStream: message(protocol.decodeAddStream, protocol.encodeAddStream, protocol.addStreamLength),
  dcpSetVbucketState: message(
    protocol.decodeDcpSetVbucketState,
    protocol.encodeDcpSetVbucketState,
    protocol.dcpSetVbucketStateLength,
  ),
  seqnoAdvanced: message(
    protocol.decodeSeqnoAdvanced,
    protocol.encodeSeqnoAdvanced,
    protocol.seqnoAdvancedLength,
  ),
  osoSnapshot: message(
    protocol.decodeOsoSnapshot,
    protocol.encodeOsoSnapshot,
    protocol.osoSnapshotLength,
  ),
  systemEvent: message(
    protocol.decodeSystemEvent,
    protocol.encodeSystemEvent,
    protocol.systemEventLength,
  ),
}
