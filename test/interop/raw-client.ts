import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import type { Test } from 'tap'

/** A frame as read by this file alone: what is under test has no part in it. */
export interface RawFrame {
  readonly magic: number
  readonly opcode: number
  readonly datatype: number
  /** Of a request: the vbucket. */
  readonly status: number
  readonly opaque: number
  readonly cas: bigint
  readonly extras: Buffer
  readonly key: Buffer
  readonly value: Buffer
}

const headerLength = 24
const deadlineMs = 20_000

/**
 * Sends bytes that a test writes down in hexadecimal, and reads frames, without anything of
 * `protocol/`: an error made in both directions would otherwise stay unseen.
 */
export class RawClient {
  readonly #socket: Socket
  readonly #frames: RawFrame[] = []
  #bytes: Buffer = Buffer.alloc(0)
  #wake: (() => void) | undefined
  #closed = false

  static async connect(t: Test, port: number): Promise<RawClient> {
    const socket = connect({ port, host: '127.0.0.1', noDelay: true })
    t.teardown(() => socket.destroy())
    await once(socket, 'connect')
    return new RawClient(socket)
  }

  private constructor(socket: Socket) {
    this.#socket = socket
    socket.on('data', chunk => {
      this.#bytes = Buffer.concat([this.#bytes, chunk])
      this.#cut()
      this.#wake?.()
    })
    socket.on('error', () => undefined)
    socket.on('close', () => {
      this.#closed = true
      this.#wake?.()
    })
  }

  /** Hexadecimal digits, in which spaces and what follows `//` on a line count for nothing. */
  send(...hex: string[]): void {
    this.#socket.write(bytesOf(hex.join('\n')))
  }

  /** The next frame, whoever asked for it. */
  async next(): Promise<RawFrame> {
    await this.#until(() => this.#frames.length > 0 || this.#closed)
    const frame = this.#frames.shift()
    if (frame === undefined) throw new Error('the server has closed the connection')
    return frame
  }

  async call(...hex: string[]): Promise<RawFrame> {
    this.send(...hex)
    return await this.next()
  }

  /** Frames that have come and were not taken. */
  get waiting(): number {
    return this.#frames.length
  }

  async closed(): Promise<void> {
    await this.#until(() => this.#closed)
  }

  #cut(): void {
    for (;;) {
      const bytes = this.#bytes
      if (bytes.length < headerLength) return
      const end = headerLength + bytes.readUInt32BE(8)
      if (bytes.length < end) return
      const keyAt = headerLength + bytes[4]!
      const valueAt = keyAt + bytes.readUInt16BE(2)
      this.#frames.push({
        magic: bytes[0]!,
        opcode: bytes[1]!,
        datatype: bytes[5]!,
        status: bytes.readUInt16BE(6),
        opaque: bytes.readUInt32BE(12),
        cas: bytes.readBigUInt64BE(16),
        extras: bytes.subarray(headerLength, keyAt),
        key: bytes.subarray(keyAt, valueAt),
        value: bytes.subarray(valueAt, end),
      })
      this.#bytes = bytes.subarray(end)
    }
  }

  async #until(condition: () => boolean): Promise<void> {
    let isLate = false
    const timer = setTimeout(() => {
      isLate = true
      this.#wake?.()
    }, deadlineMs)
    while (!condition() && !isLate) await new Promise<void>(resolve => (this.#wake = resolve))
    clearTimeout(timer)
    if (isLate) throw new Error(`nothing came within ${deadlineMs} ms`)
  }
}

export function bytesOf(hex: string): Buffer {
  const digits = hex.replaceAll(/\/\/.*$/gm, '').replaceAll(/\s/g, '')
  if (!/^([0-9a-f]{2})*$/.test(digits)) throw new Error(`not hexadecimal: ${digits}`)
  return Buffer.from(digits, 'hex')
}

/** The hexadecimal digits of a text, for keys and values. */
export function text(characters: string): string {
  return Buffer.from(characters).toString('hex')
}
