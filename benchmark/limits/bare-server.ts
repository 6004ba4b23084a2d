/**
 * A program: as little as a server in Node.js can do and still answer memcached's binary protocol. It
 * reads into one buffer for all connections, cuts requests by their lengths, and answers each GET with the
 * same value and all else with success, in one write for each connection at the end of a turn of the
 * event loop. It stores nothing, looks nothing up, and trusts whoever connects.
 *
 *   bare-server VALUE-BYTES    prints `listening on PORT`
 */
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { headerLength } from '../../protocol/header.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { adoptSocket } from '../../src/server/socket-adoption.ts'

const flagsLength = 4
const valueBytes = Number(process.argv[2])
/** More than what a turn brings of the pipelines that are measured. */
const answersMax = 1024

const success = Buffer.alloc(headerLength)
success[0] = Magic.response
const found = Buffer.alloc(headerLength + flagsLength + valueBytes, 'x')
found.fill(0, 0, headerLength + flagsLength)
found[0] = Magic.response
found[1] = Opcode.get
found[4] = flagsLength
found.writeUInt32BE(flagsLength + valueBytes, 8)

const readBuffer = Buffer.alloc(64 * 1024)
const waiting: Connection[] = []

class Connection {
  readonly socket: Socket
  #answers = Buffer.allocUnsafeSlow(answersMax * found.length)
  #used = 0
  /** Of a header that has come in part. */
  readonly #header = Buffer.alloc(headerLength)
  #headerUsed = 0
  /** Of the request under way: what is still to come. */
  #bodyLeft = 0

  constructor(accepted: Socket) {
    const callback = (length: number) => this.#take(length)
    this.socket = adoptSocket(accepted, { buffer: readBuffer, callback })
    this.socket.setNoDelay(true)
    // The driver goes away at any time.
    this.socket.on('error', () => {})
    this.socket.on('end', () => this.socket.destroy())
    this.socket.resume()
  }

  #take(length: number): boolean {
    let at = 0
    while (at < length) {
      if (this.#bodyLeft > 0) {
        const taken = Math.min(this.#bodyLeft, length - at)
        this.#bodyLeft -= taken
        at += taken
      } else if (this.#headerUsed === 0 && length - at >= headerLength) {
        this.#begin(readBuffer, at)
        at += headerLength
      } else {
        this.#header[this.#headerUsed++] = readBuffer[at++]!
        if (this.#headerUsed < headerLength) continue
        this.#headerUsed = 0
        this.#begin(this.#header, 0)
      }
    }
    return true
  }

  /** Answers before the rest of the request is there, which the driver does not notice. */
  #begin(bytes: Buffer, at: number): void {
    this.#bodyLeft = bytes.readUInt32BE(at + 8)
    const answer = bytes[at + 1] === Opcode.get ? found : success
    if (this.#used === 0 && waiting.push(this) === 1) setImmediate(writeAll)
    if (this.#used + answer.length > this.#answers.length) this.write()
    answer.copy(this.#answers, this.#used)
    this.#used += answer.length
  }

  write(): void {
    const used = this.#used
    if (used === 0 || this.socket.destroyed) return
    this.#used = 0
    this.socket.write(this.#answers.subarray(0, used))
    // What the kernel did not take stays with the socket.
    if (this.socket.writableLength > 0) this.#answers = Buffer.allocUnsafeSlow(this.#answers.length)
  }
}

function writeAll(): void {
  for (const connection of waiting) connection.write()
  waiting.length = 0
}

const server = createServer({ pauseOnConnect: true }, socket => void new Connection(socket))
server.listen(0, '127.0.0.1', () => {
  process.stdout.write(`listening on ${(server.address() as AddressInfo).port}\n`)
})
