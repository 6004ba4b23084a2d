import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'

/** What this server grants when asked. */
const granted: ReadonlySet<number> = new Set([
  Feature.tcpNoDelay,
  Feature.mutationSeqno,
  Feature.xattr,
  Feature.xerror,
  Feature.selectBucket,
  Feature.json,
  Feature.snappy,
  Feature.snappyEverywhere,
  Feature.duplex,
  Feature.clustermapChange,
  Feature.unorderedExecution,
  Feature.tracing,
  Feature.altRequest,
  Feature.syncReplication,
  Feature.collections,
  Feature.preserveExpiry,
  Feature.virtualXattr,
  Feature.subdocCreateAsDeleted,
  Feature.subdocDocumentMacro,
  Feature.subdocReplaceBodyWithXattr,
  Feature.subdocReplicaRead,
  Feature.clusterConfigKnownVersion,
  Feature.dedupeNotMyVbucketClustermap,
  Feature.clustermapChangeBrief,
  Feature.subdocMultipleXattrKeys,
  Feature.subdocBinaryXattr,
  Feature.subdocReplicaReadDeleted,
  Feature.rangeScanXattr,
  Feature.randomKeyXattr,
])

export function isGranted(feature: number): boolean {
  return granted.has(feature)
}

/** Each needs the second as well: a client that cannot be asked anything cannot be told. */
const dependent = [
  [Feature.clustermapChange, Feature.duplex],
  [Feature.clustermapChangeBrief, Feature.duplex],
] as const

/** What one client negotiated; flags where each request has to look. */
export class Features {
  /** Whether the client said HELLO at all: without it, it is a plain memcached client. */
  saidHello = false
  mutationSeqno = false
  xerror = false
  json = false
  xattr = false
  snappy = false
  /** Values of all requests may be compressed, not only those of documents. */
  snappyEverywhere = false
  /** Answers may come in another order than their requests. */
  unordered = false
  /** Answers tell how long they took. */
  tracing = false
  /** Bits that datatypes of its requests and answers may have. */
  datatypes = 0
  selectBucket = false
  dedupesMaps = false
  /** Keys begin with the id of their collection. */
  collections = false
  /** How a client is told of a new cluster map: with the map, or only that there is one. */
  mapPushes: 'none' | 'full' | 'brief' = 'none'
  #codes: number[] = []

  /** All that was granted, in the order it was asked for. */
  get codes(): readonly number[] {
    return this.#codes
  }

  has(feature: number): boolean {
    return this.#codes.includes(feature)
  }

  /**
   * Starts over, as each HELLO does, and returns the granted part of `asked`; undefined, and nothing
   * changes, when that contradicts itself.
   */
  negotiate(asked: readonly number[], isStreaming = false): readonly number[] | undefined {
    const isAsked = (code: number) => asked.includes(code)
    if (dependent.some(([code, needed]) => isAsked(code) && !isAsked(needed))) return undefined
    this.#codes = [...new Set(asked)].filter(code => granted.has(code))
    // Streams need the order of answers.
    if (isStreaming) {
      this.#codes = this.#codes.filter(code => code !== Feature.unorderedExecution)
    }
    // Of the two ways to push a map one is enough.
    if (this.has(Feature.clustermapChangeBrief)) {
      this.#codes = this.#codes.filter(code => code !== Feature.clustermapChange)
    }
    // Of no use without: the bit of the datatype would be refused.
    if (!this.has(Feature.snappy)) {
      this.#codes = this.#codes.filter(code => code !== Feature.snappyEverywhere)
    }
    this.saidHello = true
    this.mutationSeqno = this.has(Feature.mutationSeqno)
    this.xerror = this.has(Feature.xerror)
    this.json = this.has(Feature.json)
    this.xattr = this.has(Feature.xattr)
    this.snappy = this.has(Feature.snappy)
    this.snappyEverywhere = this.has(Feature.snappyEverywhere)
    this.unordered = this.has(Feature.unorderedExecution)
    this.tracing = this.has(Feature.tracing)
    this.datatypes =
      (this.json ? Datatype.json : 0) |
      (this.xattr ? Datatype.xattr : 0) |
      (this.snappy ? Datatype.snappy : 0)
    this.collections = this.has(Feature.collections)
    this.selectBucket = this.has(Feature.selectBucket)
    this.mapPushes = this.#mapPushes()
    this.dedupesMaps = this.has(Feature.dedupeNotMyVbucketClustermap)
    return this.#codes
  }

  #mapPushes() {
    if (this.has(Feature.clustermapChangeBrief)) return 'brief'
    return this.has(Feature.clustermapChange) ? 'full' : 'none'
  }
}
