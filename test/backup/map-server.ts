import { Opcode } from '../../protocol/opcode.ts'
import { ScriptedServer } from '../client/scripted-server.ts'

/** The member of a cluster that is asked first: it has no vbuckets, but the map of those who have. */
export function serveMap(
  t: { teardown(run: () => unknown): unknown },
  ports: readonly number[],
  nodeOf: readonly number[],
): Promise<ScriptedServer> {
  const vBucketServerMap = {
    serverList: ports.map(port => `$HOST:${port}`),
    vBucketMap: nodeOf.map(node => [node]),
  }
  return ScriptedServer.start(t, (frame, peer) => {
    if (frame.opcode !== Opcode.getClusterConfig) return false
    peer.reply(frame, { value: JSON.stringify({ rev: 1, uuid: 'u', vBucketServerMap }) })
    return true
  })
}
