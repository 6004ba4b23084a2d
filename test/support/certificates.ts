import { copyFileSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'

const folder = resolve(import.meta.dirname, '../../../test/certificates')

/** See `test/certificates/make.sh`. */
export type CertificateName =
  'authority' | 'stranger' | 'server' | 'renewed' | 'alice' | 'mailed' | 'impostor'

export function certificateFile(name: CertificateName): string {
  return join(folder, `${name}.pem`)
}

export function keyFile(name: CertificateName): string {
  return join(folder, `${name}.key`)
}

export function pem(name: CertificateName): Buffer {
  return readFileSync(certificateFile(name))
}

/** What a client shows to log in. */
export function shown(name: CertificateName): { cert: Buffer; key: Buffer } {
  return { cert: pem(name), key: readFileSync(keyFile(name)) }
}

/** Puts a certificate and its key in the place of those in a folder. */
export function install(
  name: CertificateName,
  target: string,
): { certificate: string; key: string } {
  const files = { certificate: join(target, 'node.pem'), key: join(target, 'node.key') }
  copyFileSync(certificateFile(name), files.certificate)
  copyFileSync(keyFile(name), files.key)
  return files
}
