/**
 * A program: what one would write first. It iterates over the records with `getRange` on the main
 * thread and writes each to the socket, waiting when the socket says so. It reads the daemon's own
 * files, as a process beside it. It is what the daemon's cost for each document is compared with.
 *
 *   naive-backfill DIRECTORY...    prints `listening on PORT`
 */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { open } from 'lmdb'

const tables = process.argv.slice(2).map(path =>
  open({ path, noSubdir: false, readOnly: true, maxDbs: 16 }).openDB<Buffer, Buffer>({
    name: 'records',
    encoding: 'binary',
    keyEncoding: 'binary',
  }),
)

const server = createServer({ noDelay: true }, socket => {
  // The client may go away at any time.
  socket.on('error', () => {})
  void send(socket)
})
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`)
})

async function send(socket: Socket): Promise<void> {
  for (const table of tables) {
    for (const { value } of table.getRange({})) {
      if (!socket.write(value)) await once(socket, 'drain')
    }
  }
  socket.end()
}
