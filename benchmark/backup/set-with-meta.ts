/**
 * Writes documents with SET_WITH_META, over four connections, as many requests on their way as a restore
 * has, and out of nothing: what a restore could do if it had nothing else to do. Prints how many
 * were answered. Arguments: the port, documents, bytes of a value.
 */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { FrameReader } from '../../protocol/frame-reader.ts'
import { vbucketOf } from '../../protocol/key-hash.ts'
import { Status } from '../../protocol/status.ts'
import { RequestBatch } from '../../src/backup/restore/request-batch.ts'
import { vbucketCount } from '../daemon.ts'

const [port, documents, valueBytes] = process.argv.slice(2).map(Number) as [number, number, number]
const connections = 4
const batchRequests = 512
const value = Buffer.alloc(valueBytes, 'as good as any ')
const noPrefix = Buffer.alloc(0)
const readerOptions = { maxBodyBytes: 1024, skipBodyBytes: 1024 }
let answered = 0

async function writeAll(from: number, to: number): Promise<void> {
  const socket = connect({ port, host: '127.0.0.1', noDelay: true })
  await once(socket, 'connect')
  const batch = new RequestBatch(0)
  for (let at = from; at < to; at += batchRequests) {
    const end = Math.min(to, at + batchRequests)
    for (let number = at; number < end; number++) addDocument(batch, number)
    const taken = untilAnswered(socket, end - at)
    socket.write(batch.bytes)
    await taken
    batch.clear()
  }
  socket.destroy()
}

function addDocument(batch: RequestBatch, number: number): void {
  const key = Buffer.from(`key-${String(number).padStart(12, '0')}`)
  const rest = { kind: 1, revno: 1, flags: 0, time: 0, datatype: 0, collectionId: 0 } as const
  const record = { ...rest, seqno: number + 1, cas: BigInt(number + 1), key, value }
  batch.add(record, number, vbucketOf(key, vbucketCount), noPrefix)
}

function untilAnswered(socket: Socket, count: number): Promise<void> {
  const reader = new FrameReader(readerOptions)
  let left = count
  return new Promise((resolve, reject) => {
    const take = (chunk: Buffer) => {
      reader.read(chunk, ({ status }) => {
        if (status !== Status.success) reject(new Error(`status ${status}`))
        left--
        answered++
      })
      if (left > 0) return
      socket.off('data', take)
      resolve()
    }
    socket.on('data', take)
  })
}

const share = Math.ceil(documents / connections)
await Promise.all(
  Array.from({ length: connections }, (_, lane) =>
    writeAll(lane * share, Math.min(documents, (lane + 1) * share)),
  ),
)
process.stdout.write(`${JSON.stringify({ answered })}\n`)
