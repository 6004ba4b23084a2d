/**
 * The keys of a vbucket in order, from a pinned snapshot, as it shows them to one range scan.
 *
 * On disk documents lie in the order of their seqnos. So a pass goes over all of the vbucket and
 * gathers the least keys behind where the scan is, as many as may be kept; when these have been
 * read, another pass gathers the next. Most vbuckets have no more keys than one pass gathers.
 * A pass is done in slices, with others' work in between; nothing but the transaction has to last.
 */
import type { Transaction } from 'lmdb'
import { blockHeadLength, findInBlock, isBlockIntact } from './block.ts'
import { BlockScan } from './block-scan.ts'
import type { Environment } from './environment.ts'
import { RecordView } from './record.ts'
import { ScannedItems, type ItemForm } from './scanned-items.ts'
import { invariant } from '../errors.ts'

/** Bounds of a scan: keys with the id of their collection, as bytes in a string (latin1). */
export interface KeyRange {
  start: string
  includesStart: boolean
  end: string
  includesEnd: boolean
}

/** About how many documents are wanted, chosen by a number. */
export interface Sampling {
  samples: number
  seed: number
}

export interface KeyScanRequest {
  vbid: number
  range: KeyRange
  sampling: Sampling | undefined
  /** The newest seqno that the snapshot shows. */
  highSeqno: number
  /** Documents whose time is over by then are gone. */
  nowSeconds: number
  /** Keys that are kept at a time. */
  gatheredMax: number
  form: ItemForm
}

export interface KeyScanLimits {
  itemsMax: number
  bytesMax: number
}

/** 'gathering': call again. 'more': there is more behind what was read. 'end': there is not. */
export type KeyScanState = 'gathering' | 'more' | 'end'

export interface KeysRead {
  bytes: Buffer
  items: number
  state: KeyScanState
}

interface Found {
  key: string
  seqno: number
  block: number
}

const blocksPerSlice = 256

const view = new RecordView()

export class KeyScan {
  readonly #environment: Environment
  readonly #transaction: Transaction
  readonly #request: KeyScanRequest
  readonly #blocks: BlockScan
  readonly #items: ScannedItems
  /** Keys up to here have been read. */
  #behind: string
  #includesBehind: boolean
  /** What this pass has gathered: in order only when it is over. */
  #gathered: Found[] = []
  #next = 0
  /** No key behind this one is gathered: there are enough before it. */
  #enough: string | undefined
  #passSeqno = 0
  #isGathered = false
  /** Of all documents in the range; counted by the first pass of a scan that samples. */
  #count = 0
  #isCounted: boolean
  /** Share of the keys that are wanted. */
  #share = 1

  constructor(environment: Environment, transaction: Transaction, request: KeyScanRequest) {
    this.#environment = environment
    this.#transaction = transaction
    this.#request = request
    this.#blocks = new BlockScan(environment)
    this.#items = new ScannedItems(request.form)
    this.#behind = request.range.start
    this.#includesBehind = request.range.includesStart
    this.#isCounted = request.sampling === undefined
  }

  /** Whether there is a record with this seqno that is the newest of its key. */
  hasSeqno(seqno: number): boolean {
    const { vbid } = this.#request
    const transaction = this.#transaction
    for (const shown of this.#blocks.blocks({ vbid, from: seqno, to: seqno, transaction })) {
      if (findInBlock(shown.bytes, shown.length, seqno) > 0) return shown.isLive(seqno)
    }
    return false
  }

  /** Reads on. At least one item is read unless it is 'gathering' or at the end. */
  read({ itemsMax, bytesMax }: KeyScanLimits): KeysRead {
    if (!this.#isGathered) this.#gather()
    if (!this.#isGathered) return { bytes: this.#items.take(), items: 0, state: 'gathering' }
    let items = 0
    while (items < itemsMax && this.#next < this.#gathered.length) {
      if (items > 0 && this.#items.length >= bytesMax) break
      const found = this.#gathered[this.#next++]!
      this.#add(found)
      items++
    }
    if (this.#next === this.#gathered.length && this.#enough !== undefined) this.#beginPass()
    const isMore = !this.#isGathered || this.#next < this.#gathered.length
    return { bytes: this.#items.take(), items, state: isMore ? 'more' : 'end' }
  }

  #beginPass(): void {
    this.#behind = this.#gathered.at(-1)!.key
    this.#includesBehind = false
    this.#gathered = []
    this.#next = 0
    this.#enough = undefined
    this.#passSeqno = 0
    this.#isGathered = false
  }

  /** One slice of a pass. */
  #gather(): void {
    const { vbid, highSeqno } = this.#request
    const transaction = this.#transaction
    const bounds = { vbid, from: this.#passSeqno + 1, to: highSeqno, transaction }
    let blocks = 0
    for (const shown of this.#blocks.blocks(bounds)) {
      invariant(shown.length > blockHeadLength, 'blocks that are stored hold records')
      if (!isBlockIntact(shown.bytes, shown.length)) {
        throw new Error(`corrupt block: vbucket ${vbid}, seqno ${shown.block}`)
      }
      for (const { at, seqno } of shown.live()) {
        if (seqno <= this.#passSeqno) continue
        this.#passSeqno = seqno
        view.at(shown.bytes, at)
        this.#consider(view, shown.block)
      }
      if (++blocks === blocksPerSlice) return
    }
    this.#endPass()
  }

  #endPass(): void {
    const { sampling } = this.#request
    if (!this.#isCounted) {
      this.#isCounted = true
      this.#share = this.#count === 0 ? 0 : sampling!.samples / this.#count
      this.#passSeqno = 0
      return
    }
    this.#trim()
    this.#isGathered = true
  }

  #consider(record: RecordView, block: number): void {
    const { range, nowSeconds, sampling } = this.#request
    if (record.isDeletion || (record.expiry !== 0 && record.expiry <= nowSeconds)) return
    const key = record.bytes.toString('latin1', record.keyStart, record.valueStart)
    if (key < this.#behind || (key === this.#behind && !this.#includesBehind)) return
    if (key > range.end || (key === range.end && !range.includesEnd)) return
    if (!this.#isCounted) {
      this.#count++
      return
    }
    if (this.#enough !== undefined && key > this.#enough) return
    if (this.#share < 1 && drawn(key, sampling!.seed) >= this.#share) return
    this.#gathered.push({ key, seqno: record.seqno, block })
    if (this.#gathered.length >= 2 * this.#request.gatheredMax) this.#trim()
  }

  /** Puts what was gathered in order, and keeps the least of it. */
  #trim(): void {
    const { gatheredMax } = this.#request
    this.#gathered.sort((one, other) => (one.key < other.key ? -1 : 1))
    if (this.#gathered.length <= gatheredMax) return
    this.#gathered.length = gatheredMax
    this.#enough = this.#gathered.at(-1)!.key
  }

  #add({ key, seqno, block }: Found): void {
    if (this.#request.form.keyOnly) {
      this.#items.addKey(key)
      return
    }
    const { vbid } = this.#request
    const transaction = this.#transaction
    const stored = this.#environment.blocks.getBinaryFast({ vbid, seqno: block }, { transaction })
    invariant(stored, 'a snapshot goes on showing what it has shown')
    const bytes = Buffer.from(stored.buffer, stored.byteOffset, stored.length)
    const at = findInBlock(bytes, bytes.length, seqno)
    invariant(at > 0, 'a snapshot goes on showing what it has shown')
    this.#items.addDocument(view.at(bytes, at))
  }
}

/** A number in [0, 1) that follows from a key and a seed, so that passes agree on it. */
function drawn(key: string, seed: number): number {
  let hash = (seed ^ 0x811c9dc5) >>> 0
  for (let i = 0; i < key.length; i++) hash = Math.imul(hash ^ key.charCodeAt(i), 0x01000193)
  hash = Math.imul(hash ^ (hash >>> 16), 0x85ebca6b)
  hash = Math.imul(hash ^ (hash >>> 13), 0xc2b2ae35)
  return ((hash ^ (hash >>> 16)) >>> 0) / 2 ** 32
}
