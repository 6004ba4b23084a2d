import { KvClient } from '../src/client/index.ts'

export interface Documents {
  readonly count: number
  readonly valueBytes: number
}

const inFlightMax = 2_000

export function keyOf(index: number): string {
  return `document-${index}`
}

/** Stores documents, each once, and resolves when all of them are on disk. */
export async function load(port: number, { count, valueBytes }: Documents): Promise<void> {
  const client = await KvClient.connect({ port, requestTimeoutMs: 60_000 })
  const value = Buffer.alloc(valueBytes, 'v')
  let next = 0
  const lanes = Array.from({ length: inFlightMax }, async () => {
    while (next < count) await client.set(keyOf(next++), value)
  })
  await Promise.all(lanes)
  const seqnos = await client.allVbSeqnos()
  for (const [vbid, seqno] of seqnos) {
    if (seqno > 0) await client.seqnoPersisted(vbid, seqno)
  }
  await client.close()
}
