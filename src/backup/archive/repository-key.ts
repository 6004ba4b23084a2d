import { createHash, randomBytes, scrypt, timingSafeEqual, createHmac } from 'node:crypto'
import { promisify } from 'node:util'
import { z } from 'zod'
import { BackupError } from '../errors.ts'
import { decrypt, encrypt, keyLength } from './object-cipher.ts'

/** What a person keeps: the contents of a key file, or words. */
export type Secret =
  | { readonly kind: 'key-file'; readonly bytes: Uint8Array }
  | { readonly kind: 'passphrase'; readonly text: string }

/** scrypt with these takes about a third of a second and 128 MiB. */
const scryptCost = { N: 2 ** 17, r: 8, p: 1 } as const
const scryptSaltLength = 16

/** More than this would let an altered repository take the memory of whoever opens it. */
const scryptMemoryMax = 1024 * 1024 * 1024

/**
 * The encryption of a repository, as `repository.json` has it. Data is encrypted under a random
 * key; that one is kept encrypted under a key made of the secret, so that a secret can be changed.
 */
export const encryptionSchema = z.strictObject({
  cipher: z.literal('aes-256-gcm'),
  secret: z.discriminatedUnion('kind', [
    z.strictObject({ kind: z.literal('key-file') }),
    z.strictObject({
      kind: z.literal('passphrase'),
      salt: z.base64(),
      N: z.int().min(2),
      r: z.int().min(1),
      p: z.int().min(1),
    }),
  ]),
  /** Names the key, so that people can tell keys apart. */
  keyId: z.string(),
  /** Nonce, encrypted key, tag; authenticated with the repository's id. */
  sealedKey: z.base64(),
})
export type Encryption = z.infer<typeof encryptionSchema>

/** A new key for the repository, sealed with the secret. */
export async function createRepositoryKey(
  secret: Secret,
  repositoryId: string,
): Promise<{ key: Buffer; encryption: Encryption }> {
  const described =
    secret.kind === 'key-file'
      ? ({ kind: 'key-file' } as const)
      : ({
          kind: 'passphrase',
          salt: randomBytes(scryptSaltLength).toString('base64'),
          ...scryptCost,
        } as const)
  const key = randomBytes(keyLength)
  const sealed = encrypt(await sealingKey(secret, described), key, contextOf(repositoryId))
  const encryption: Encryption = {
    cipher: 'aes-256-gcm',
    secret: described,
    keyId: keyIdOf(key),
    sealedKey: sealed.toString('base64'),
  }
  return { key, encryption }
}

/** The repository's key, or the error that the secret is another one. */
export async function openRepositoryKey(
  secret: Secret | undefined,
  encryption: Encryption,
  repositoryId: string,
): Promise<Buffer> {
  const { kind } = encryption.secret
  const wanted = kind === 'key-file' ? 'a key file' : 'a passphrase'
  if (!secret) throw new BackupError('key', `the repository is encrypted: it needs ${wanted}`)
  if (secret.kind !== kind)
    throw new BackupError('key', `the repository is encrypted with ${wanted}, not the other way`)
  const sealed = Buffer.from(encryption.sealedKey, 'base64')
  const sealing = await sealingKey(secret, encryption.secret)
  const key = decrypt(sealing, sealed, contextOf(repositoryId))
  if (key?.length !== keyLength)
    throw new BackupError('key', `this is not the key of the repository (${encryption.keyId})`)
  return key
}

/** 32 bytes, or 64 hexadecimal digits and a line end. */
export function readKeyFile(bytes: Buffer): Uint8Array {
  if (bytes.length === keyLength) return bytes
  const text = bytes.toString('latin1').trim()
  if (/^[0-9a-f]{64}$/i.test(text)) return Buffer.from(text, 'hex')
  throw new BackupError('key', 'a key file has 32 bytes, or 64 hexadecimal digits')
}

/** Under which nobody without the key can put together another manifest. */
export function manifestMac(key: Uint8Array, manifest: Uint8Array): string {
  const macKey = createHmac('sha256', key).update('holdfast-backup manifest').digest()
  return createHmac('sha256', macKey).update(manifest).digest('hex')
}

export function sameMac(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one), Buffer.from(other)]
  return a.length === b.length && timingSafeEqual(a, b)
}

const scryptAsync = promisify<
  string,
  Uint8Array,
  number,
  { N: number; r: number; p: number; maxmem: number },
  Buffer
>(scrypt)

async function sealingKey(secret: Secret, described: Encryption['secret']): Promise<Uint8Array> {
  if (secret.kind === 'key-file') return secret.bytes
  if (described.kind !== 'passphrase') throw new BackupError('key', 'there is no passphrase')
  const { salt, N, r, p } = described
  try {
    const limits = { N, r, p, maxmem: scryptMemoryMax }
    const text = secret.text.normalize('NFC')
    return await scryptAsync(text, Buffer.from(salt, 'base64'), keyLength, limits)
  } catch (cause) {
    throw new BackupError('format', 'the cost of the passphrase is out of bounds', { cause })
  }
}

function keyIdOf(key: Uint8Array): string {
  return createHash('sha256')
    .update('holdfast-backup key id')
    .update(key)
    .digest('hex')
    .slice(0, 16)
}

function contextOf(repositoryId: string): Buffer {
  return Buffer.from(`holdfast-backup repository ${repositoryId}`)
}
