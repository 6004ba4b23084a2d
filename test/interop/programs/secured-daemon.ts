/** A daemon with users, as clients meet one: nobody gets in without the password. */
import type { Test } from 'tap'
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
