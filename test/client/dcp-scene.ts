import { encodeVbSeqnos } from '../../protocol/commands/all-vb-seqnos.ts'
import { encodeFailoverLog } from '../../protocol/dcp/failover-log.ts'
import type { StreamRequest } from '../../protocol/dcp/stream-request.ts'
import type { Frame } from '../../protocol/frame.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { DcpClient, type Change, type DcpClientOptions } from '../../src/client/index.ts'
import { ScriptedServer, streamRequestOf, type Peer, type Script } from './scripted-server.ts'

/** What happens on a stream request; connections and requests count from 0. */
export type OnStream = (request: StreamRequest, frame: Frame, peer: Peer) => void

export interface DcpSceneOptions {
  /** The vbuckets there are, with their high seqnos (default: only 0, with 10). */
  highSeqnos?: Record<number, number>
  /** Answered to DCP_GET_FAILOVER_LOG, newest first. */
  failoverLog?: [vbuuid: bigint, seqno: number][]
  onStream: OnStream
  /** Comes before everything else. */
  script?: Script
  client?: Partial<DcpClientOptions>
}

export interface DcpScene {
  server: ScriptedServer
  client: DcpClient
  requests: StreamRequest[]
}

/** A scripted producer, and a client connected to it that comes back quickly. */
export async function dcpScene(
  t: { teardown(run: () => unknown): unknown },
  options: DcpSceneOptions,
): Promise<DcpScene> {
  const { highSeqnos = { 0: 10 }, failoverLog = [[7n, 0]] } = options
  const requests: StreamRequest[] = []
  const server = await ScriptedServer.start(t, (frame, peer) => {
    if (options.script && options.script(frame, peer) !== false) return true
    const request = streamRequestOf(frame)
    if (request) {
      requests.push(request)
      options.onStream(request, frame, peer)
      return true
    }
    if (frame.opcode === Opcode.getAllVbSeqnos) {
      const seqnos = Object.entries(highSeqnos)
      const value = encodeVbSeqnos(seqnos.map(([vbid, seqno]) => ({ vbid: Number(vbid), seqno })))
      peer.reply(frame, { value })
      return true
    }
    if (frame.opcode === Opcode.dcpGetFailoverLog) {
      const log = failoverLog.map(([vbuuid, seqno]) => ({ vbuuid, seqno }))
      peer.reply(frame, { value: encodeFailoverLog(log) })
      return true
    }
    return false
  })
  const client = await DcpClient.connect({
    port: server.port,
    name: 'test',
    reconnect: { firstMs: 1, maxMs: 5 },
    ...options.client,
  })
  t.teardown(() => client.close())
  return { server, client, requests }
}

/** The next `count` changes. */
export async function take(client: DcpClient, count: number): Promise<Change[]> {
  const changes: Change[] = []
  const iterator = client[Symbol.asyncIterator]()
  while (changes.length < count) {
    const result = await iterator.next()
    if (result.done) break
    changes.push(result.value)
  }
  return changes
}

export const seqnosOf = (changes: Change[]) => changes.map(change => change.seqno)

/** Everything until the iteration ends by itself. */
export async function drain(client: DcpClient): Promise<Change[]> {
  const changes: Change[] = []
  for await (const change of client) changes.push(change)
  return changes
}
