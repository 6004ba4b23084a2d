/** A daemon with users, as clients meet one: nobody gets in without the password. */
import { createPrivateKey } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'
import { writeUsers } from '../../support/access.ts'
import { certificateFile, keyFile } from '../../support/certificates.ts'
import { startDaemon, type DaemonProcess } from '../../support/start-daemon.ts'

export const user = 'admin'
export const password = 'a password of many words'
export const credentials = { username: user, password }

interface Options {
  readonly data?: string
  readonly flags?: readonly string[]
}

export function startSecuredDaemon(t: Test, options: Options = {}): Promise<DaemonProcess> {
  const flags = ['--vbuckets', '64', ...(options.flags ?? [])]
  return startDaemon(t, { ...options, flags, environment: { HOLDFAST_ADMIN_PASSWORD: password } })
}

/** The same with ports for TLS, on which a certificate logs in the user that it names. */
export async function startTlsDaemon(t: Test): Promise<DaemonProcess> {
  const data = join(t.testdir({ data: {} }), 'data')
  const admins = [user, 'alice'].map(name => ({ name, password, roles: ['admin'] }))
  await writeUsers(join(data, 'users.json'), ...admins)
  const flags = [
    ['--tls-port', '0', '--https-port', '0'],
    ['--tls-certificate', certificateFile('server'), '--tls-key', keyFile('server')],
    ['--tls-client-ca', certificateFile('authority')],
  ]
  return startDaemon(t, { data, flags: ['--vbuckets', '64', ...flags.flat()] })
}

/** What programs are told behind user and password: where TLS is, and the files that it takes. */
export function tlsWords({ tlsPort, data }: DaemonProcess): string[] {
  // Not every client reads the form that OpenSSL writes keys in.
  const key = createPrivateKey(readFileSync(keyFile('alice')))
  const keyPath = join(data, '../alice.key')
  writeFileSync(keyPath, key.export({ type: 'pkcs8', format: 'pem' }))
  const files = [certificateFile('authority'), certificateFile('alice'), keyPath]
  return [`couchbases://127.0.0.1:${tlsPort}`, ...files]
}
