/**
 * A user as it is kept: no password, but for each mechanism the salt and the two keys with which a
 * login can be checked and none can be made.
 */
import { randomBytes } from 'node:crypto'
import { scramKeys, scramMechanisms, type ScramMechanism } from '../../protocol/sasl/index.ts'
import { OperatorError } from '../errors.ts'
import { formatRole, parseRole, roleForms, type Role } from './role.ts'

export interface Verifier {
  readonly salt: Buffer
  readonly storedKey: Buffer
  readonly serverKey: Buffer
}

export interface User {
  readonly name: string
  readonly roles: readonly Role[]
  readonly verifiers: Readonly<Record<ScramMechanism, Verifier>>
}

export const saltLength = 16
const nameBytesMax = 128
const passwordBytesMax = 1024

/** Fails with an OperatorError for a name, a password or roles that cannot be. */
export async function makeUser(
  name: string,
  password: string,
  roles: readonly string[],
  iterations: number,
): Promise<User> {
  checkName(name)
  const parsed = parseRoles(roles)
  return { name, roles: parsed, verifiers: await makeVerifiers(password, iterations) }
}

export async function makeVerifiers(
  password: string,
  iterations: number,
): Promise<User['verifiers']> {
  const bytes = Buffer.byteLength(password)
  if (bytes === 0 || bytes > passwordBytesMax || password.includes('\0')) {
    throw new OperatorError(
      'password-unusable',
      `a password has 1 to ${passwordBytesMax} bytes and no zero byte among them`,
      'give another one',
    )
  }
  const rows = scramMechanisms.map(async mechanism => {
    const salt = randomBytes(saltLength)
    const { storedKey, serverKey } = await scramKeys(mechanism, password, salt, iterations)
    return [mechanism, { salt, storedKey, serverKey }] as const
  })
  return Object.fromEntries(await Promise.all(rows)) as User['verifiers']
}

export function parseRoles(roles: readonly string[]): Role[] {
  const parsed = roles.map(text => {
    const role = parseRole(text)
    if (role !== undefined) return role
    throw new OperatorError('role-unknown', `${text} is no role`, `use ${roleForms.join(', ')}`)
  })
  // Each once, in the order given.
  return [...new Map(parsed.map(role => [formatRole(role), role])).values()]
}

function checkName(name: string): void {
  const bytes = Buffer.byteLength(name)
  // oxlint-disable-next-line no-control-regex -- which is what is not wanted
  if (bytes > 0 && bytes <= nameBytesMax && !/[\u0000-\u001f\u007f]/.test(name)) return
  throw new OperatorError(
    'user-name-unusable',
    `a user's name has 1 to ${nameBytesMax} bytes and no control characters`,
    'give another one',
  )
}
