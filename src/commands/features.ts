import { Feature } from '../../protocol/feature.ts'

/**
 * What this server grants when asked. Not here on purpose: collections and sub-document features
 * (no such commands yet), snappy (values are stored as they come and sent to whoever asks),
 * tracing (no framing extras in answers), clustermap pushes (the map of a lone node does not
 * change but by hand; clients poll it).
 */
const granted: ReadonlySet<number> = new Set([
  Feature.tcpNoDelay,
  Feature.mutationSeqno,
  Feature.xattr,
  Feature.xerror,
  Feature.selectBucket,
  Feature.json,
  Feature.duplex,
  // Answering in order is one of the orders it allows.
  Feature.unorderedExecution,
  Feature.altRequest,
  Feature.syncReplication,
  Feature.preserveExpiry,
  Feature.clusterConfigKnownVersion,
  Feature.dedupeNotMyVbucketClustermap,
])

/** What one client negotiated; flags where each request has to look. */
export class Features {
  /** Whether the client said HELLO at all: without it, it is a plain memcached client. */
  saidHello = false
  mutationSeqno = false
  xerror = false
  json = false
  xattr = false
  selectBucket = false
  dedupesMaps = false
  #codes: number[] = []

  /** All that was granted, in the order it was asked for. */
  get codes(): readonly number[] {
    return this.#codes
  }

  has(feature: number): boolean {
    return this.#codes.includes(feature)
  }

  /** Starts over, as each HELLO does, and returns the granted part of `asked`. */
  negotiate(asked: readonly number[]): readonly number[] {
    this.#codes = [...new Set(asked)].filter(code => granted.has(code))
    this.saidHello = true
    this.mutationSeqno = this.has(Feature.mutationSeqno)
    this.xerror = this.has(Feature.xerror)
    this.json = this.has(Feature.json)
    this.xattr = this.has(Feature.xattr)
    this.selectBucket = this.has(Feature.selectBucket)
    this.dedupesMaps = this.has(Feature.dedupeNotMyVbucketClustermap)
    return this.#codes
  }
}
