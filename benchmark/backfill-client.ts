/**
 * A program: streams a whole bucket from disk again and again, acknowledging what it receives,
 * from the message `begin` to the message `end`, and tells what it got. In a process of its own,
 * which the case starts so that it takes no processor from the daemon.
 */
import { StreamRequestFlag } from '../protocol/dcp/index.ts'
import type { Frame } from '../protocol/frame.ts'
import { headerLength } from '../protocol/header.ts'
import { Opcode } from '../protocol/opcode.ts'
import { Connection } from '../src/client/index.ts'
import { expectSuccess, windowRequest } from './dcp-client.ts'
import { acknowledgement, helloRequest, openRequest, streamRequest } from './dcp-requests.ts'

const [port, vbucketCount] = process.argv.slice(2).map(Number) as [number, number]
const windowBytes = 20 * 2 ** 20

/** What it got between `begin` and `end`. */
export interface BackfillTotals {
  readonly documents: number
  readonly bytes: number
  /** Whole buckets. */
  readonly passes: number
}

let isOver = true
let documents = 0
let bytes = 0

process.on('message', message => {
  if (message !== 'begin') return void (isOver = true)
  isOver = false
  void stream()
})
process.on('disconnect', () => process.exit(0))
process.send!('ready')

async function stream(): Promise<void> {
  documents = 0
  bytes = 0
  let passes = 0
  while (!isOver) {
    await pass(passes)
    passes++
  }
  process.send!({ documents, bytes, passes } satisfies BackfillTotals)
}

/** Every vbucket once, all at a time; cut short when it is over. */
async function pass(number: number): Promise<void> {
  let open = vbucketCount
  let unacknowledged = 0
  let finish = () => {}
  const finished = new Promise<void>(resolve => (finish = resolve))
  const take = (frame: Frame) => {
    if (frame.opcode === Opcode.dcpMutation) documents++
    const length = headerLength + frame.bodyLength
    bytes += length
    unacknowledged += length
    if (unacknowledged > windowBytes / 4) {
      connection.write(acknowledgement(unacknowledged))
      unacknowledged = 0
    }
    if (frame.opcode === Opcode.dcpStreamEnd && --open === 0) finish()
    if (isOver) finish()
  }
  const connection = await Connection.open({ port }, { onRequest: take })
  await expectSuccess(connection, helloRequest())
  await expectSuccess(connection, openRequest(`backfill-${number}`))
  await expectSuccess(connection, windowRequest(windowBytes))
  const flags = StreamRequestFlag.diskOnly | StreamRequestFlag.toLatest
  for (let vbid = 0; vbid < vbucketCount; vbid++) {
    void expectSuccess(connection, streamRequest(vbid, flags)).catch((error: unknown) => {
      if (!isOver) throw error
    })
  }
  await finished
  connection.destroy()
}
