import { randomBytes } from 'node:crypto'
import { changeUserFile } from './user-file.ts'
import { makeUser } from './user.ts'

export interface FirstUser {
  readonly name: string
  /** Undefined if somebody has chosen it. */
  readonly madeUpPassword: string | undefined
}

/** Without one nobody could log in to make others. */
export async function makeFirstUser(
  userFile: string,
  chosenPassword: string | undefined,
): Promise<FirstUser> {
  const name = 'admin'
  const password = chosenPassword ?? randomBytes(18).toString('base64url')
  await changeUserFile(userFile, async table => {
    const user = await makeUser(name, password, ['admin'], table.iterations)
    return { ...table, users: new Map([[name, user]]) }
  })
  return { name, madeUpPassword: chosenPassword === undefined ? password : undefined }
}
