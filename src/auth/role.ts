/**
 * What users may do, as roles: `admin`, `monitor`, and `read[bucket]` and its like for one bucket,
 * or for every one there is or will be: `read[*]`.
 */
import { Privilege } from './privilege.ts'

const { login, read, write, meta, dcp, stats, seqnos, systemRead, systemWrite, all } = Privilege

/** Roles that are about the node, and what they give, whatever the bucket. */
const nodeRoles = { admin: all, monitor: stats } as const

/** Roles that are about a bucket, and what they give there. */
const bucketRoles = {
  read: read | seqnos | stats,
  write: write | seqnos,
  dcp: dcp | seqnos | stats,
  backup: read | write | meta | dcp | seqnos | stats | systemRead | systemWrite,
  system: systemRead | systemWrite,
} as const

export interface Role {
  readonly name: keyof typeof nodeRoles | keyof typeof bucketRoles
  /** A name or `*`; undefined for roles about the node. */
  readonly bucket: string | undefined
}

/** As people are told what there is. */
export const roleForms: readonly string[] = [
  ...Object.keys(nodeRoles),
  ...Object.keys(bucketRoles).map(name => `${name}[bucket]`),
]

const pattern = /^([a-z]+)(?:\[([A-Za-z\d._%-]{1,100}|\*)\])?$/

/** `undefined` for what is no role. */
export function parseRole(text: string): Role | undefined {
  const match = pattern.exec(text)
  if (match === null) return undefined
  const [, name, bucket] = match
  const table = bucket === undefined ? nodeRoles : bucketRoles
  return Object.hasOwn(table, name!) ? { name: name as Role['name'], bucket } : undefined
}

export function formatRole({ name, bucket }: Role): string {
  return bucket === undefined ? name : `${name}[${bucket}]`
}

/** What `roles` give in a bucket; without one, what they give in none in particular. */
export function privilegesOf(roles: readonly Role[], bucket: string | undefined): number {
  let privileges: number = login
  for (const role of roles) {
    if (role.bucket === undefined) privileges |= nodeRoles[role.name as keyof typeof nodeRoles]
    else if (bucket !== undefined && (role.bucket === '*' || role.bucket === bucket)) {
      privileges |= bucketRoles[role.name as keyof typeof bucketRoles]
    }
  }
  return privileges
}
