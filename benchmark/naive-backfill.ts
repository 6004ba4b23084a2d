/**
 * A program: what one would write first. Records lie one to a value in LMDB; it iterates over them
 * with `getRange` on the main thread and writes each to the socket, waiting when the socket says
 * so. Before it listens it copies the records of a daemon's files into one of its own. It is what
 * the daemon's cost for each document is compared with.
 *
 *   naive-backfill OWN DIRECTORY...    prints `listening on PORT`
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { open } from 'lmdb'
import { readSeqno, writeSeqno } from '../protocol/bytes.ts'
import { headerLength } from '../protocol/header.ts'
import { blockHeadLength, recordLengthIn } from '../src/storage/block.ts'

const binary = { encoding: 'binary', keyEncoding: 'binary' } as const
const [own, ...directories] = process.argv.slice(2)
const table = open<Buffer, Buffer>({ path: own!, noSubdir: false, ...binary })
table.transactionSync(() => {
  for (const directory of directories) copyRecords(directory)
})

function copyRecords(path: string): void {
  const source = open({ path, noSubdir: false, readOnly: true, maxDbs: 16 })
  const blocks = source.openDB<Buffer, Buffer>({ name: 'blocks', ...binary })
  const key = Buffer.alloc(10)
  for (const { value } of blocks.getRange({})) {
    for (let at = blockHeadLength; ;) {
      const length = recordLengthIn(value, at, value.length)
      if (length === 0) break
      value.copy(key, 0, at + 6, at + 8)
      writeSeqno(key, 2, readSeqno(value, at + headerLength))
      table.putSync(key, value.subarray(at, at + length))
      at += length
    }
  }
}

const server = createServer({ noDelay: true }, socket => {
  // The client may go away at any time.
  socket.on('error', () => {})
  void send(socket)
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`)
})

async function send(socket: Socket): Promise<void> {
  for (const { value } of table.getRange({})) {
    if (!socket.write(value)) await once(socket, 'drain')
  }
  socket.end()
}
