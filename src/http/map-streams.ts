/**
 * `/pools/default/bs/BUCKET`: the cluster map of a bucket as a response that never ends, with each
 * new map behind the last. A reader that does not keep up is sent the newest one when it does.
 */
import type { ServerResponse } from 'node:http'
import type { ClusterMaps } from '../commands/cluster-map.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { PageError } from './page-error.ts'

/** What clients take for the end of one map. */
const mapEnd = '\n\n\n\n'

export class MapStreams {
  readonly #streamsMax: number
  readonly #streams = new Set<ServerResponse>()

  constructor(streamsMax: number) {
    this.#streamsMax = streamsMax
  }

  get count(): number {
    return this.#streams.size
  }

  /** Call before a response is given up to `open`: it says when there are too many. */
  admit(): void {
    if (this.#streams.size < this.#streamsMax) return
    throw new PageError(503, { error: `there are ${this.#streamsMax} streams of maps` })
  }

  /** Sends maps until the client, the bucket or this server goes away. */
  open(response: ServerResponse, maps: ClusterMaps, bucket: Bucket): void {
    this.#streams.add(response)
    const { socket } = response
    // Maps come as they change, which may be never.
    socket?.setTimeout(0)
    socket?.setKeepAlive(true, 60_000)
    response.writeHead(200, { 'content-type': 'application/json', 'cache-control': 'no-store' })
    let sentRevision = 0
    let isWaiting = false
    const send = () => {
      const { revision, text } = maps.of(bucket)
      if (isWaiting || revision === sentRevision) return
      sentRevision = revision
      isWaiting = !response.write(Buffer.concat([text, Buffer.from(mapEnd)]))
    }
    const changed = (which: Bucket) => {
      if (which === bucket) send()
    }
    const end = () => response.end()
    response.on('drain', () => {
      isWaiting = false
      send()
    })
    response.once('close', () => {
      this.#streams.delete(response)
      maps.events.off('changed', changed)
      bucket.events.off('deleted', end)
    })
    maps.events.on('changed', changed)
    bucket.events.once('deleted', end)
    send()
  }
}
