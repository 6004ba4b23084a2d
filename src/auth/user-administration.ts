/** What an administrator does to users: each a change of their file, which the daemon takes over. */
import { OperatorError } from '../errors.ts'
import { formatRole } from './role.ts'
import { changeUserFile, readUserFile, type UserTable } from './user-file.ts'
import { makeUser, makeVerifiers, parseRoles, type User } from './user.ts'

export async function addUser(
  file: string,
  name: string,
  password: string,
  roles: readonly string[],
): Promise<void> {
  await change(file, async ({ users, iterations }) => {
    if (users.has(name)) {
      throw new OperatorError('user-exists', `there is a user ${name}`, 'choose another name')
    }
    return new Map([...users, [name, await makeUser(name, password, roles, iterations)]])
  })
}

/** Whoever is logged in as the user has to log in again. */
export async function changePassword(file: string, name: string, password: string): Promise<void> {
  await change(file, async ({ users, iterations }) => {
    const verifiers = await makeVerifiers(password, iterations)
    return new Map([...users, [name, { ...found(users, name), verifiers }]])
  })
}

export async function changeRoles(
  file: string,
  name: string,
  roles: readonly string[],
): Promise<void> {
  await change(file, ({ users }) => {
    return new Map([...users, [name, { ...found(users, name), roles: parseRoles(roles) }]])
  })
}

export async function removeUser(file: string, name: string): Promise<void> {
  await change(file, ({ users }) => {
    found(users, name)
    return new Map([...users].filter(([each]) => each !== name))
  })
}

export interface ListedUser {
  readonly name: string
  readonly roles: readonly string[]
}

export function listUsers(file: string): ListedUser[] {
  const users = [...(readUserFile(file)?.users.values() ?? [])]
  return users.map(({ name, roles }) => ({ name, roles: roles.map(formatRole) }))
}

async function change(
  file: string,
  make: (table: UserTable) => ReadonlyMap<string, User> | Promise<ReadonlyMap<string, User>>,
): Promise<void> {
  await changeUserFile(file, async table => {
    const users = await make(table)
    if (![...users.values()].some(({ roles }) => roles.some(role => role.name === 'admin'))) {
      const message = 'there would be no user with the role admin'
      throw new OperatorError('last-admin', message, 'let another one have it before')
    }
    return { ...table, users }
  })
}

function found(users: ReadonlyMap<string, User>, name: string): User {
  const user = users.get(name)
  if (user !== undefined) return user
  throw new OperatorError('user-unknown', `there is no user ${name}`, 'see holdfast user list')
}
