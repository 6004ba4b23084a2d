import { seqnoInfinity } from '../../protocol/bytes.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { DcpSettings } from './dcp-options.ts'
import type { DcpSession } from './dcp-session.ts'
import { ServerError } from './errors.ts'
import type { StreamFilter } from './collection-selection.ts'
import { historyOf, startPosition, type StreamPosition } from './stream-position.ts'
import { VbucketStream } from './vbucket-stream.ts'

export interface StreamStarts {
  /** From a state. */
  readonly positions: ReadonlyMap<number, StreamPosition>
  readonly filter: StreamFilter | undefined
}

/** Which vbuckets are streamed, from where, and how far: settled once, on the first connection. */
export async function initialStreams(
  session: DcpSession,
  settings: DcpSettings,
  { positions, filter }: StreamStarts,
): Promise<VbucketStream[]> {
  const { vbuckets, from, until, random } = settings
  const needsSeqnos = vbuckets === 'all' || from === 'now' || until === 'now'
  const highSeqnos = needsSeqnos
    ? await session.highSeqnos(vbuckets === 'all' ? 'active' : 'all')
    : new Map<number, number>()
  const vbids = vbuckets === 'all' ? [...highSeqnos.keys()] : [...new Set(vbuckets)]
  return Promise.all(
    vbids.map(async vbid => {
      const highSeqno = highSeqnos.get(vbid)
      if (needsSeqnos && highSeqno === undefined)
        throw new ServerError(Opcode.getAllVbSeqnos, Status.notMyVbucket, `vbucket ${vbid}`)
      const position =
        positions.get(vbid) ??
        (from === 'now' ? await endOf(session, vbid, highSeqno!) : startPosition)
      const endSeqno = until === 'now' ? highSeqno! : (until?.get(vbid) ?? seqnoInfinity)
      return new VbucketStream({ vbid, position, endSeqno, filter, random })
    }),
  )
}

/** The position of someone who has everything up to now. */
async function endOf(session: DcpSession, vbid: number, seqno: number): Promise<StreamPosition> {
  if (seqno === 0) return startPosition
  const history = historyOf(await session.failoverLog(vbid))
  return { history, seqno, snapshot: { start: seqno, end: seqno } }
}
