import type { Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { DcpClient, KvClient, ServerError } from '../../src/client/index.ts'
import type { Change, KvClientOptions } from '../../src/client/index.ts'
import type { DaemonProcess } from '../support/start-daemon.ts'

/** A client of a daemon; its connection ends with the test. */
export async function connectKv(
  t: Test,
  { port }: DaemonProcess,
  options: KvClientOptions = {},
): Promise<KvClient> {
  const client = await KvClient.connect({ port, requestTimeoutMs: 30_000, ...options })
  t.teardown(() => client.destroy())
  return client
}

/**
 * Everything a bucket holds, by a stream of all its vbuckets from the beginning: the newest change
 * of each key. Fails when seqnos of a vbucket do not grow.
 */
export async function readBucket(daemon: DaemonProcess): Promise<Map<string, Change>> {
  const latest = new Map<string, Change>()
  const seqnos = new Map<number, number>()
  const { port } = daemon
  const client = await DcpClient.connect({ port, name: 'read-bucket', until: 'now' })
  try {
    for await (const change of client) {
      const { vbid, seqno, key } = change
      const before = seqnos.get(vbid) ?? 0
      if (seqno <= before) throw new Error(`vbucket ${vbid}: seqno ${seqno} after ${before}`)
      seqnos.set(vbid, seqno)
      latest.set(key.toString(), change)
    }
  } finally {
    await client.close()
  }
  return latest
}

/** The live documents among them, as text. */
export function documentsOf(latest: ReadonlyMap<string, Change>): Map<string, string> {
  const documents = new Map<string, string>()
  for (const [key, { type, value }] of latest) {
    if (type === 'mutation') documents.set(key, value.toString())
  }
  return documents
}

/** How a request ended; anything but an answer is thrown. */
export async function statusOf(request: Promise<unknown>): Promise<number> {
  try {
    await request
    return Status.success
  } catch (error) {
    if (error instanceof ServerError) return error.status
    throw error
  }
}
