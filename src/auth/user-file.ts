/**
 * The file that holds the users, `users.json` in the data folder. The command line changes it, the
 * daemon reads it, both possibly at the same time: it is replaced in one step, durably, and who
 * changes it holds a lock beside it from before reading until after. Nobody but its owner may read
 * it: whoever has the verifiers can try passwords at leisure.
 */
import { randomBytes } from 'node:crypto'
import {
  chownSync,
  closeSync,
  fsyncSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs'
import { dirname, join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'
import { hashLength, scramMechanisms, type ScramMechanism } from '../../protocol/sasl/index.ts'
import { OperatorError } from '../errors.ts'
import { formatRole, parseRole } from './role.ts'
import { saltLength, type User, type Verifier } from './user.ts'

export interface UserTable {
  /** From which the salts of users that are not there are made, the same ones each time. */
  readonly secret: Buffer
  /** Rounds of PBKDF2, of all users alike, so that they tell nothing about one. */
  readonly iterations: number
  readonly users: ReadonlyMap<string, User>
}

const format = 'holdfast-users'
const version = 1
const secretLength = 32
/** Clients compute them for each of their connections; this is what Couchbase uses. */
const iterationsByDefault = 15_000
/** Changing users takes milliseconds: a lock this old was left by a crash. */
const lockMaxMs = 10_000
const lockPollMs = 20

export function userFileIn(dataFolder: string): string {
  return join(dataFolder, 'users.json')
}

export function emptyTable(): UserTable {
  return { secret: randomBytes(secretLength), iterations: iterationsByDefault, users: new Map() }
}

/** `undefined` if there is no such file; an OperatorError if it cannot be read or understood. */
export function readUserFile(path: string): UserTable | undefined {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException
    if (code === 'ENOENT') return undefined
    throw unusable(path, message, error)
  }
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    // The parser's own words quote from the file, which is full of secrets.
    throw unusable(path, 'it is no JSON')
  }
  try {
    return decodeTable(content)
  } catch (error) {
    throw unusable(path, messageOf(error), error)
  }
}

/** Reads the file, or begins one, and replaces it with what `change` makes of its table. */
export async function changeUserFile(
  path: string,
  change: (table: UserTable) => UserTable | Promise<UserTable>,
): Promise<void> {
  const lock = await acquireLock(`${path}.lock`)
  try {
    writeUserFile(path, await change(readUserFile(path) ?? emptyTable()))
  } finally {
    lock.release()
  }
}

function writeUserFile(path: string, table: UserTable): void {
  const aside = `${path}.new`
  try {
    rmSync(aside, { force: true })
    const file = openSync(aside, 'wx', 0o600)
    try {
      writeSync(file, `${JSON.stringify(encodeTable(table), undefined, 2)}\n`)
      fsyncSync(file)
    } finally {
      closeSync(file)
    }
    giveToFolderOwner(aside)
    renameSync(aside, path)
    syncFolder(dirname(path))
  } catch (error) {
    throw unusable(path, messageOf(error), error)
  }
}

/** Changed by root for a daemon that runs as somebody else, it must be readable for that one. */
function giveToFolderOwner(path: string): void {
  if (process.getuid?.() !== 0) return
  const { uid, gid } = statSync(dirname(path))
  chownSync(path, uid, gid)
}

function syncFolder(path: string): void {
  const folder = openSync(path, 'r')
  try {
    fsyncSync(folder)
  } finally {
    closeSync(folder)
  }
}

async function acquireLock(path: string): Promise<{ release(): void }> {
  const givenUpMs = Date.now() + lockMaxMs
  for (;;) {
    try {
      closeSync(openSync(path, 'wx', 0o600))
      return { release: () => rmSync(path, { force: true }) }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EEXIST') {
        throw unusable(path, messageOf(error), error)
      }
    }
    const heldSince = statSync(path, { throwIfNoEntry: false })?.mtimeMs ?? Infinity
    if (Date.now() - heldSince > lockMaxMs) rmSync(path, { force: true })
    else if (Date.now() > givenUpMs) throw unusable(path, 'somebody else is changing users')
    else await delay(lockPollMs)
  }
}

function encodeTable({ secret, iterations, users }: UserTable): object {
  const rows = [...users.values()].map(({ name, roles, verifiers }) => {
    const scram = scramMechanisms.map(mechanism => {
      const { salt, storedKey, serverKey } = verifiers[mechanism]
      const encoded = {
        salt: salt.toString('base64'),
        storedKey: storedKey.toString('base64'),
        serverKey: serverKey.toString('base64'),
      }
      return [mechanism, encoded] as const
    })
    return { name, roles: roles.map(formatRole), scram: Object.fromEntries(scram) }
  })
  return { format, version, iterations, secret: secret.toString('base64'), users: rows }
}

function decodeTable(content: unknown): UserTable {
  const { users, secret, iterations, ...head } = membersOf(content, 'the file')
  if (head['format'] !== format || head['version'] !== version) {
    throw new Error(`it is no ${format} of version ${version}`)
  }
  if (!Number.isSafeInteger(iterations) || (iterations as number) < 1) {
    throw new Error('it has no number of iterations')
  }
  if (!Array.isArray(users)) throw new Error('it has no list of users')
  const decoded = users.map(decodeUser)
  const byName = new Map(decoded.map(user => [user.name, user]))
  if (byName.size !== decoded.length) throw new Error('a user is there twice')
  return {
    secret: bytesOf(secret, secretLength, 'secret'),
    iterations: iterations as number,
    users: byName,
  }
}

function decodeUser(content: unknown): User {
  const { name, roles, scram } = membersOf(content, 'a user')
  if (typeof name !== 'string' || name === '' || !Array.isArray(roles)) {
    throw new Error('a user lacks its name or its roles')
  }
  const parsed = roles.map(text => {
    const role = typeof text === 'string' ? parseRole(text) : undefined
    if (role === undefined) throw new Error(`${JSON.stringify(text)} is no role`)
    return role
  })
  const members = membersOf(scram, `user ${name}`)
  const verifiers = scramMechanisms.map(
    mechanism => [mechanism, decodeVerifier(mechanism, members[mechanism])] as const,
  )
  return { name, roles: parsed, verifiers: Object.fromEntries(verifiers) as User['verifiers'] }
}

function decodeVerifier(mechanism: ScramMechanism, content: unknown): Verifier {
  const { salt, storedKey, serverKey } = membersOf(content, mechanism)
  const length = hashLength(mechanism)
  return {
    salt: bytesOf(salt, saltLength, 'salt'),
    storedKey: bytesOf(storedKey, length, 'stored key'),
    serverKey: bytesOf(serverKey, length, 'server key'),
  }
}

function membersOf(content: unknown, what: string): Record<string, unknown> {
  if (typeof content === 'object' && content !== null && !Array.isArray(content)) {
    return content as Record<string, unknown>
  }
  throw new Error(`${what} is no object`)
}

function bytesOf(content: unknown, length: number, what: string): Buffer {
  const bytes = typeof content === 'string' ? Buffer.from(content, 'base64') : undefined
  if (bytes?.length !== length) throw new Error(`a ${what} has not ${length} bytes`)
  return bytes
}

function unusable(path: string, why: string, cause?: unknown): OperatorError {
  const hint = 'see that it is readable, or restore it from a backup; users are in no other place'
  return new OperatorError('users-unusable', `${path}: ${why}`, hint, { cause })
}

function messageOf(error: unknown): string {
  return (error as Error).message
}
