/**
 * Rebuilds an accepted socket so that its reads land in one buffer that all sockets share.
 *
 * `net.createServer` has no `onread` option: left alone, every read of every socket allocates.
 * `net.Socket` has one, and also accepts an existing handle. So the accepted socket is made
 * paused, its handle is taken away, and a second socket is built on it. The first, now without a
 * handle, is destroyed, which is how the `net.Server` forgets it: counting and closing the
 * rebuilt ones is up to our own server.
 */
import { Socket, type SocketConstructorOpts } from 'node:net'
import { TLSSocket } from 'node:tls'

/** What `net` keeps in a socket and takes back in its constructor; stable since Node 12. */
interface Handle {
  useUserBuffer(buffer: Uint8Array): void
}

export interface ReadInto {
  readonly buffer: Uint8Array
  /** Takes the first `length` bytes of the buffer; false stops reading until `resume()`. */
  readonly callback: (length: number) => boolean
}

/**
 * A plain socket must come from a server made with `pauseOnConnect`. What comes over TLS has been
 * copied to be decrypted anyway: its socket stays as it is.
 */
export function adoptSocket(accepted: Socket, into: ReadInto): Socket {
  if (accepted instanceof TLSSocket) return copyFrom(accepted, into)
  const holder = accepted as unknown as { _handle: Handle | null }
  const handle = holder._handle
  // A client that is gone already, or a runtime whose handles look different.
  if (handle === null || typeof handle.useUserBuffer !== 'function') return copyFrom(accepted, into)
  holder._handle = null
  accepted.destroy()
  const options = { handle, allowHalfOpen: true, onread: into, readable: true, writable: true }
  return new Socket(options as unknown as SocketConstructorOpts)
}

/** The same contract on ordinary stream events, with a copy. */
function copyFrom(accepted: Socket, into: ReadInto): Socket {
  accepted.on('data', (chunk: Buffer) => {
    let position = 0
    while (position < chunk.length) {
      const length = Math.min(into.buffer.length, chunk.length - position)
      into.buffer.set(chunk.subarray(position, position + length))
      position += length
      if (into.callback(length)) continue
      accepted.pause()
      if (position < chunk.length) accepted.unshift(chunk.subarray(position))
      return
    }
  })
  accepted.resume()
  return accepted
}
