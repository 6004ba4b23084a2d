/**
 * What a client may ask for in HELLO. A server answers with the subset it grants; many codes only
 * tell that frames of some kind will not be refused.
 */
export const Feature = {
  tls: 0x02,
  tcpNoDelay: 0x03,
  mutationSeqno: 0x04,
  tcpDelay: 0x05,
  xattr: 0x06,
  xerror: 0x07,
  selectBucket: 0x08,
  snappy: 0x0a,
  json: 0x0b,
  duplex: 0x0c,
  clustermapChange: 0x0d,
  unorderedExecution: 0x0e,
  tracing: 0x0f,
  altRequest: 0x10,
  syncReplication: 0x11,
  collections: 0x12,
  snappyEverywhere: 0x13,
  preserveExpiry: 0x14,
  virtualXattr: 0x15,
  subdocCreateAsDeleted: 0x17,
  subdocDocumentMacro: 0x18,
  subdocReplaceBodyWithXattr: 0x19,
  reportUnits: 0x1a,
  nonBlockingThrottling: 0x1b,
  subdocReplicaRead: 0x1c,
  clusterConfigKnownVersion: 0x1d,
  dedupeNotMyVbucketClustermap: 0x1e,
  clustermapChangeBrief: 0x1f,
  subdocMultipleXattrKeys: 0x20,
  subdocBinaryXattr: 0x21,
  rangeScanXattr: 0x22,
  subdocReplicaReadDeleted: 0x23,
  randomKeyXattr: 0x24,
  mutateWithMeta: 0x25,
  dcpSkipDeletesInInitialBackfill: 0x26,
} as const
export type FeatureName = keyof typeof Feature
export type Feature = (typeof Feature)[FeatureName]

/** One line of documentation for each feature. */
export const featureMeaning: Readonly<Record<FeatureName, string>> = {
  tls: 'Wants to switch to TLS. Never implemented by anyone; never granted.',
  tcpNoDelay: 'Wants small packets sent at once. They always are.',
  mutationSeqno: 'Answers to mutations carry 16 bytes of extras: vbucket uuid and seqno.',
  tcpDelay: 'Wants small packets delayed. Retired.',
  xattr: 'Extended attributes may be used, and the datatype bit set.',
  xerror: 'Any status may be answered, with JSON in the body of an error.',
  selectBucket: 'SELECT_BUCKET may be used.',
  snappy: 'Values compressed with Snappy, with the datatype bit, both ways.',
  json: 'The datatype bit for JSON is set on JSON values, both ways.',
  duplex: 'The server may send requests of its own (magic 0x82).',
  clustermapChange: 'The server pushes each new cluster map. Needs duplex.',
  unorderedExecution: 'Answers may come in another order than their requests.',
  tracing: 'Answers carry the time they took in the server in a framing extra.',
  altRequest: 'Requests may carry framing extras (magic 0x08).',
  syncReplication: 'Requests may carry a durability requirement in a framing extra.',
  collections: 'Every key begins with the id of its collection, as LEB128.',
  snappyEverywhere: 'Any value may be compressed, both ways, not only those of documents.',
  preserveExpiry: 'Requests may ask in a framing extra to keep the expiry a document has.',
  virtualXattr: 'Unknown virtual attributes are refused with a status of their own.',
  subdocCreateAsDeleted: 'Sub-document mutations may create a document as a tombstone.',
  subdocDocumentMacro: 'The virtual attribute $document may be used in macros.',
  subdocReplaceBodyWithXattr: 'Sub-document mutations may turn an attribute into the body.',
  reportUnits: 'Answers carry the read and write units used in framing extras.',
  nonBlockingThrottling: 'A throttled request is refused instead of delayed.',
  subdocReplicaRead: 'Sub-document lookups may be sent to replicas.',
  clusterConfigKnownVersion: 'GET_CLUSTER_CONFIG may carry the version the client already has.',
  dedupeNotMyVbucketClustermap: 'NOT_MY_VBUCKET leaves out a map this client already got.',
  clustermapChangeBrief: 'The server pushes the version of each new cluster map, not the map.',
  subdocMultipleXattrKeys: 'One sub-document request may touch several attributes.',
  subdocBinaryXattr: 'Attributes may hold binary values.',
  rangeScanXattr: 'Range scans may return extended attributes.',
  subdocReplicaReadDeleted: 'Sub-document lookups on replicas may read tombstones.',
  randomKeyXattr: 'GET_RANDOM_KEY may return extended attributes.',
  mutateWithMeta: 'MUTATE_WITH_META may be used.',
  dcpSkipDeletesInInitialBackfill: 'DCP_OPEN may ask for first backfills without tombstones.',
}

const names = new Map<number, FeatureName>()
for (const name of Object.keys(Feature) as FeatureName[]) names.set(Feature[name], name)

/** The name of a feature, or `feature 0x…` for a code without one. */
export function featureName(code: number): string {
  return names.get(code) ?? `feature 0x${code.toString(16).padStart(2, '0')}`
}

export function isFeature(code: number): code is Feature {
  return names.has(code)
}
