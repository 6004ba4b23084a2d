/** A connection for the streams of clients with collections; it breaks when a test says so. */
import { strict as assert } from 'node:assert'
import type { StreamRequest } from '../../../protocol/dcp/stream-request.ts'
import type { StreamAnswer } from '../../../src/dcp/stream-answer.ts'
import type { CollectionClient } from './collection-client.ts'
import type { CollectionHistory } from './collection-history.ts'
import { Recorder } from './recorder.ts'
import type { Link, Scene } from './scene.ts'

export interface CollectionLinkOptions {
  name: string
  isAware: boolean
  /** Streams have ids, so that several can be of one vbucket. */
  hasStreamIds: boolean
}

export class CollectionLink {
  readonly #link: Link
  readonly #recorder: Recorder
  readonly #clients = new Map<number, CollectionClient>()
  #read = 0

  constructor(scene: Scene, { name, isAware, hasStreamIds }: CollectionLinkOptions) {
    const controls = {
      backfill_resume: 'true',
      ...(hasStreamIds ? { enable_stream_id: 'true' } : {}),
    }
    this.#recorder = new Recorder(isAware)
    this.#link = scene.connect({ name, isAware, controls })
    this.#link.output.deliver = bytes => this.#recorder.read(bytes)
    this.#link.output.stall()
  }

  /** What comes for its stream is for this client. */
  ask(client: CollectionClient, request: StreamRequest): Promise<StreamAnswer> {
    this.#clients.set(client.streamId, client)
    const { producer } = this.#link
    return new Promise((reply, fail) => producer.streamRequest(request, { reply, fail }))
  }

  /** Delivers some bytes, perhaps half a frame. */
  receive(bytes: number, history: CollectionHistory): void {
    this.#link.output.take(bytes)
    this.#hand(history)
  }

  /** Delivers all from now on. */
  flow(history: CollectionHistory): void {
    this.#link.output.flow()
    this.#hand(history)
  }

  cut(): void {
    this.#link.producer.disconnected(false)
    for (const client of this.#clients.values()) client.link = undefined
  }

  #hand(history: CollectionHistory): void {
    const { messages } = this.#recorder
    for (; this.#read < messages.length; this.#read++) {
      const message = messages[this.#read]!
      const client = this.#clients.get(message.streamId)
      assert.ok(client, `stream ${message.streamId} was not asked for`)
      client.take(message, history)
    }
  }
}
