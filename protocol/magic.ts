/** The first byte of a frame: who speaks, and whether framing extras follow the header. */
export const Magic = {
  /** Request from a client with framing extras and a one-byte key length. */
  altRequest: 0x08,
  /** Response from a server with framing extras and a one-byte key length. */
  altResponse: 0x18,
  /** Request from a client; DCP messages of a producer use it too. */
  request: 0x80,
  /** Response from a server. */
  response: 0x81,
  /** Request from a server to its client (HELLO feature duplex). */
  serverRequest: 0x82,
  /** A client's answer to a server's request. */
  serverResponse: 0x83,
} as const
export type Magic = (typeof Magic)[keyof typeof Magic]

export function isMagic(byte: number): byte is Magic {
  return (byte >= 0x80 && byte <= 0x83) || byte === Magic.altRequest || byte === Magic.altResponse
}

/** True for the magics whose header carries a vbucket; the others carry a status in its place. */
export function isRequestMagic(magic: number): boolean {
  return magic === Magic.request || magic === Magic.altRequest || magic === Magic.serverRequest
}

/** True for the magics with framing extras and a one-byte key length. */
export function isAltMagic(magic: number): boolean {
  return magic === Magic.altRequest || magic === Magic.altResponse
}
