import { Privilege } from './privilege.ts'
import { privilegesOf, type Role } from './role.ts'

/** What a user may do with documents and streams of a bucket, at least some of it. */
const uses = Privilege.read | Privilege.write | Privilege.meta | Privilege.dcp

/** Who somebody is, and hence what they may do. It does not change: a changed user is a new one. */
export interface Identity {
  /** Empty for somebody who has not logged in. */
  readonly name: string
  /** Bits of `Privilege`, in a bucket or, without one, in none in particular. */
  privilegesIn(bucket: string | undefined): number
}

/** Somebody who has not logged in where that is required. */
export const nobody: Identity = { name: '', privilegesIn: () => Privilege.none }

/** Anybody where nobody has to log in. */
export const anybody: Identity = { name: '', privilegesIn: () => Privilege.all }

export function identityOf(name: string, roles: readonly Role[]): Identity {
  return { name, privilegesIn: bucket => privilegesOf(roles, bucket) }
}

/** Whether a bucket may be selected. */
export function mayUse(identity: Identity, bucket: string): boolean {
  return (identity.privilegesIn(bucket) & uses) !== 0
}
