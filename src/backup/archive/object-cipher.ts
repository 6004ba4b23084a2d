import { createCipheriv, createDecipheriv, hkdfSync, randomBytes } from 'node:crypto'
import { writeSeqno } from '../../../protocol/bytes.ts'
import { damaged } from '../errors.ts'

const algorithm = 'aes-256-gcm'
export const keyLength = 32
const nonceLength = 12
const tagLength = 16

/** How an object's blocks are encrypted; the number is what its header says. */
export const Cipher = { none: 0, aes256Gcm: 1 } as const
export type Cipher = (typeof Cipher)[keyof typeof Cipher]

/** Bytes in AES-256-GCM: nonce, encrypted bytes, tag. */
export function encrypt(key: Uint8Array, bytes: Uint8Array, context: Uint8Array): Buffer {
  const nonce = randomBytes(nonceLength)
  const cipher = createCipheriv(algorithm, key, nonce, { authTagLength: tagLength })
  cipher.setAAD(context)
  const parts = [nonce, cipher.update(bytes), cipher.final()]
  return Buffer.concat([...parts, cipher.getAuthTag()])
}

/** `undefined` if the key is another one, or a bit of `sealed` or `context` has changed. */
export function decrypt(
  key: Uint8Array,
  sealed: Uint8Array,
  context: Uint8Array,
): Buffer | undefined {
  if (sealed.length < nonceLength + tagLength) return undefined
  const nonce = sealed.subarray(0, nonceLength)
  const tagAt = sealed.length - tagLength
  const decipher = createDecipheriv(algorithm, key, nonce, { authTagLength: tagLength })
  decipher.setAAD(context)
  decipher.setAuthTag(sealed.subarray(tagAt))
  const bytes = decipher.update(sealed.subarray(nonceLength, tagAt))
  try {
    return Buffer.concat([bytes, decipher.final()])
  } catch {
    return undefined
  }
}

/**
 * Encrypts the blocks of one object under a key of its own, so that a block cannot be moved to
 * another object; nor, as its offset is authenticated, to another place. Nonces are random: a
 * block that is written again after a crash, with other contents, never repeats one.
 */
export class ObjectCipher {
  readonly overheadLength = nonceLength + tagLength
  readonly #key: Uint8Array

  constructor(repositoryKey: Uint8Array, salt: Uint8Array) {
    const purpose = 'holdfast-backup object'
    this.#key = new Uint8Array(hkdfSync('sha256', repositoryKey, salt, purpose, keyLength))
  }

  encrypt(payload: Buffer, offset: number, header: Buffer): Buffer {
    return encrypt(this.#key, payload, contextOf(offset, header))
  }

  decrypt(payload: Buffer, offset: number, header: Buffer): Buffer {
    const bytes = decrypt(this.#key, payload, contextOf(offset, header))
    if (!bytes) throw damaged('a block cannot be decrypted: it was changed, or its key is another')
    return bytes
  }
}

function contextOf(offset: number, header: Buffer): Buffer {
  const context = Buffer.alloc(8 + header.length)
  writeSeqno(context, 0, offset)
  context.set(header, 8)
  return context
}
