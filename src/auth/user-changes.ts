import { isDeepStrictEqual } from 'node:util'
import type { UserTable } from './user-file.ts'
import type { User } from './user.ts'

/** Names, by what has become of them since the file was last read. */
export interface UserChanges {
  readonly added: readonly string[]
  /** Of other roles. */
  readonly changed: readonly string[]
  /** Gone, or with another password: whoever is logged in as one of them has to do so again. */
  readonly ended: readonly string[]
}

/**
 * What `after` brings, and `after` with the very objects of `before` for users that are the same.
 * No changes: nothing is different.
 */
export function compareUsers(
  before: UserTable | undefined,
  after: UserTable | undefined,
): { merged: UserTable | undefined; changes: UserChanges | undefined } {
  const old = before?.users ?? new Map<string, User>()
  const merged = new Map<string, User>()
  const added: string[] = []
  const changed: string[] = []
  const ended: string[] = []
  for (const [name, user] of after?.users ?? []) {
    const known = old.get(name)
    const hasPassword = isDeepStrictEqual(known?.verifiers, user.verifiers)
    const isSame = hasPassword && isDeepStrictEqual(known?.roles, user.roles)
    merged.set(name, isSame ? known! : user)
    if (known === undefined) added.push(name)
    else if (!hasPassword) ended.push(name)
    else if (!isSame) {
      merged.set(name, { ...user, verifiers: known.verifiers })
      changed.push(name)
    }
  }
  for (const name of old.keys()) if (!merged.has(name)) ended.push(name)
  const isFirst = (before === undefined) !== (after === undefined)
  if (!isFirst && added.length + changed.length + ended.length === 0) {
    return { merged: before, changes: undefined }
  }
  return { merged: after && { ...after, users: merged }, changes: { added, changed, ended } }
}
