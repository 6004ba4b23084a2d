/**
 * A client of one vbucket with collections, whose link breaks: keeps all it was ever told, asks
 * again from where it is, and checks what each stream promises.
 */
import { strict as assert } from 'node:assert'
import { StreamEndReason } from '../../../protocol/dcp/stream-end.ts'
import { Status } from '../../../protocol/status.ts'
import type { CollectionHistory, Wanted } from './collection-history.ts'
import { CollectionLink } from './collection-link.ts'
import type { Message } from './recorder.ts'
import type { Scene } from './scene.ts'

const endless = 2 ** 64

export class CollectionClient {
  readonly name: string
  readonly wanted: Wanted
  /** 0: its stream has none. */
  readonly streamId: number
  /** All it was told of changes, over all its links. */
  readonly told: Message[] = []
  link: CollectionLink | undefined
  resumed = 0
  /** Why nothing more will come. */
  over: 'ended' | 'refused' | undefined
  #position = { seqno: 0, start: 0, end: 0, uuid: 0n }
  /** Of the link that it has. */
  #marker: { start: number; end: number } | undefined

  constructor(name: string, wanted: Wanted, streamId = 0) {
    this.name = name
    this.wanted = wanted
    this.streamId = streamId
  }

  get seqno(): number {
    return this.#position.seqno
  }

  /** Asks for its stream, over a link of its own or one that others have. */
  async connect(scene: Scene, history: CollectionHistory, shared?: CollectionLink): Promise<void> {
    const { name, wanted, streamId } = this
    const { isAware } = wanted
    const link = shared ?? new CollectionLink(scene, { name, isAware, hasStreamIds: streamId > 0 })
    this.link = link
    this.#marker = undefined
    const { status, value } = await link.ask(this, this.#request())
    if (!history.has(wanted)) {
      const isScope = wanted.scope !== undefined
      assert.equal(status, isScope ? Status.unknownScope : Status.unknownCollection)
      this.over = 'refused'
      return
    }
    assert.equal(status, Status.success, `it may go on from ${this.seqno}`)
    if (this.seqno > 0) this.resumed++
    this.#position.uuid = value.readBigUInt64BE(0)
  }

  /** A message of its stream. */
  take(message: Message, history: CollectionHistory): void {
    if (message.what === 'marker') this.#takeMarker(message)
    else if (message.what === 'end') this.#takeEnd(message, history)
    else this.#takeChange(message, history)
  }

  /** When everything is there: it was told all that it needs, and has the documents. */
  checkWhole(history: CollectionHistory, purgeSeqno: number): void {
    const { wanted, told } = this
    const seqnos = new Set(told.filter(({ what }) => what !== 'advanced').map(each => each.seqno))
    for (const { seqno, what, isTombstone } of history.needed(wanted)) {
      if (isTombstone && seqno <= purgeSeqno) continue
      assert.ok(seqnos.has(seqno), `${this.name} lacks ${what} @${seqno}`)
    }
    assert.deepEqual(this.#documents(), history.documents(wanted))
  }

  /** Where it is when it has everything. */
  lastSeqno(history: CollectionHistory): number {
    if (this.wanted.isAware) return history.highSeqno
    const own = history.entries.filter(entry => history.passes(entry, this.wanted))
    return own.at(-1)?.seqno ?? 0
  }

  #documents(): Map<string, string> {
    const documents = new Map<string, string>()
    for (const { what, code, collection = 0, key, value } of this.told) {
      if (what === 'mutation') documents.set(`${collection}:${key}`, value!)
      else if (what === 'deletion') documents.delete(`${collection}:${key}`)
      else if (what === 'event' && code === 1) {
        for (const name of documents.keys()) {
          if (name.startsWith(`${collection}:`)) documents.delete(name)
        }
      }
    }
    return documents
  }

  #request() {
    const { seqno, start, end, uuid } = this.#position
    const { collections, scope } = this.wanted
    const value = {
      ...(collections && { collections: collections.map(id => id.toString(16)) }),
      ...(scope !== undefined && { scope: scope.toString(16) }),
      ...(this.streamId !== 0 && { sid: this.streamId }),
    }
    return {
      opaque: 1,
      vbid: 0,
      flags: 0,
      startSeqno: seqno,
      endSeqno: endless,
      vbuuid: uuid,
      snapshotStartSeqno: start,
      snapshotEndSeqno: end,
      value: Object.keys(value).length === 0 ? '' : JSON.stringify(value),
    }
  }

  #takeMarker({ start, seqno: end }: Message): void {
    const before = this.#marker
    if (before) assert.equal(this.seqno, before.end, 'a snapshot is whole before the next begins')
    assert.ok(start! <= this.seqno, 'nothing is left out')
    assert.ok(end > this.seqno, 'a snapshot brings something')
    this.#marker = { start: start!, end }
  }

  #takeChange(message: Message, history: CollectionHistory): void {
    const { seqno, what } = message
    const marker = this.#marker
    assert.ok(marker, 'a marker comes first')
    assert.ok(seqno > this.seqno, `seqnos grow: ${seqno} behind ${this.seqno}`)
    assert.ok(seqno <= marker.end, 'and lie within their snapshot')
    if (what === 'advanced') assert.equal(seqno, marker.end, 'only to the end of a snapshot')
    else history.check(message, this.wanted)
    this.told.push(message)
    Object.assign(this.#position, { seqno, ...marker })
  }

  #takeEnd({ code }: Message, history: CollectionHistory): void {
    assert.equal(code, StreamEndReason.filterEmpty)
    const goneAt = history.goneAt(this.wanted)
    assert.ok(goneAt !== undefined && this.seqno >= goneAt, 'it ends behind the event')
    this.over = 'ended'
  }
}
