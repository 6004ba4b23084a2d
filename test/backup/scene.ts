import { DcpClient, type KvClient } from '../../src/client/index.ts'
import type { ReadDocument } from './independent-reader.ts'

/** A bucket's documents as the independent reader would print them, by key. */
export async function documentsOf(
  port: number,
  bucket = 'default',
): Promise<Map<string, ReadDocument>> {
  const documents = new Map<string, ReadDocument>()
  const stream = await DcpClient.connect({
    port,
    bucket,
    name: 'what-there-is',
    until: 'now',
    includeXattrs: true,
  })
  for await (const change of stream) {
    const key = change.key.toString('latin1')
    if (change.type !== 'mutation') documents.delete(key)
    else {
      const { vbid, seqno, revno, flags, expiry, datatype } = change
      const value = change.value.toString('base64')
      const cas = String(change.cas)
      const rest = { vbid, kind: 1, seqno, cas, revno, flags, time: expiry, datatype }
      documents.set(key, { ...rest, collection: 0, key, value })
    }
  }
  return documents
}

export function byKey(documents: readonly ReadDocument[]): Map<string, ReadDocument> {
  return new Map(documents.map(document => [document.key, document]))
}

/** Documents `from` to `to`, of a few hundred bytes that do not compress to nothing. */
export async function writeDocuments(
  client: KvClient,
  from: number,
  to: number,
  version = 1,
): Promise<void> {
  const writes = []
  for (let number = from; number < to; number++) {
    const value = { number, version, noise: noise(number * 31 + version) }
    writes.push(
      client.set(`key-${number}`, JSON.stringify(value), {
        flags: number,
        ...(number % 10 === 0 ? { expiry: 2_000_000_000 + number } : {}),
      }),
    )
  }
  await Promise.all(writes)
}

function noise(seed: number): string {
  let state = seed | 1
  let text = ''
  while (text.length < 200) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    text += state.toString(36)
  }
  return text
}
