/**
 * Who may come in. Everything that lets somebody in asks here: the SASL commands, client
 * certificates, HTTP.
 *
 * Without a file of users, a daemon that only its own machine can reach is open: whoever connects
 * may do everything. As soon as there is the file, even an empty one, everybody has to log in. It is
 * read again when it changes; what it said before holds on while it cannot be read.
 */
import { createHmac, randomBytes, timingSafeEqual } from 'node:crypto'
import {
  isScram,
  scramKeys,
  hashLength,
  type SaslMechanism,
  type ScramMechanism,
} from '../../protocol/sasl/index.ts'
import type { Clock } from '../clock.ts'
import type { Log } from '../log.ts'
import type { AuditLog, Origin } from './audit.ts'
import { DerivationTurns } from './derivation-turns.ts'
import { FilePoll } from './file-poll.ts'
import { anybody, identityOf, nobody, type Identity } from './identity.ts'
import type { Login } from './login.ts'
import { LoginThrottle } from './login-throttle.ts'
import { PlainLogin } from './plain-login.ts'
import { ScramLogin, type ScramUsers } from './scram-login.ts'
import { emptyTable, readUserFile, type UserTable } from './user-file.ts'
import { saltLength, type User, type Verifier } from './user.ts'
import { compareUsers, type UserChanges } from './user-changes.ts'

export interface AccessOptions {
  readonly userFile: string
  /** Nobody has to log in, whether there are users or not. */
  readonly noAuth: boolean
  /** Nobody has to log in until there are users: only this machine can reach the daemon. */
  readonly openWithoutUsers: boolean
  readonly clock: Clock
  readonly log: Log
  readonly audit: AuditLog
}

/** What a password is checked with; the others are for clients that never send one. */
const passwordMechanism = 'SCRAM-SHA512'
const derivationsMax = 2

export class Access {
  /** For the metrics. */
  readonly figures = { succeeded: 0, failed: 0, refused: 0 }
  readonly #options: AccessOptions
  readonly #throttle: LoginThrottle
  readonly #turns = new DerivationTurns(derivationsMax)
  readonly #listeners = new Set<(changes: UserChanges) => void>()
  /** Passwords that were right, by a key of this process: who sends one each time is served fast. */
  readonly #rightPasswords = new WeakMap<User, Buffer>()
  readonly #passwordKey = randomBytes(32)
  #table: UserTable | undefined
  #identities = new Map<string, Identity>()
  #poll: FilePoll | undefined

  /** Reads the users; fails with an OperatorError if their file cannot be used. */
  constructor(options: AccessOptions) {
    this.#options = options
    this.#throttle = new LoginThrottle(options.clock)
    this.#take(readUserFile(options.userFile))
  }

  get hasUserFile(): boolean {
    return this.#table !== undefined
  }

  /** Whether nobody has to log in. */
  get isOpen(): boolean {
    const { noAuth, openWithoutUsers } = this.#options
    return noAuth || (openWithoutUsers && this.#table === undefined)
  }

  /** Somebody who has not logged in. */
  get stranger(): Identity {
    return this.isOpen ? anybody : nobody
  }

  /** Of a user by name; for certificates, whose holder has proved to be the one. */
  identityOf(name: string): Identity | undefined {
    return this.#identities.get(name)
  }

  /** The rights that `identity` has by now; undefined: its user is gone. */
  renewed(identity: Identity): Identity | undefined {
    return identity.name === '' ? this.stranger : this.#identities.get(identity.name)
  }

  /** Calls `listener` when users have changed, until the returned function is called. */
  onChange(listener: (changes: UserChanges) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Begins to look for changes of the file. */
  watch(): void {
    this.#poll ??= new FilePoll([this.#options.userFile], this.#options.clock, () => this.reload())
  }

  close(): void {
    this.#poll?.close()
    this.#listeners.clear()
  }

  /** Reads the users again. */
  reload(): void {
    const { userFile, log } = this.#options
    let table: UserTable | undefined
    try {
      table = readUserFile(userFile)
    } catch (err) {
      log.error({ err }, 'the users cannot be read: those known go on to hold')
      return
    }
    if (table === undefined && this.#table !== undefined) {
      log.error({ path: userFile }, 'the users are gone: those known go on to hold')
      return
    }
    const changes = this.#take(table)
    if (changes === undefined) return
    log.info({ ...changes }, 'users read again')
    this.#writeDown(changes)
    for (const listener of this.#listeners) listener(changes)
  }

  /** Begins a login by a mechanism, of which each may be used where nobody has to log in. */
  begin(mechanism: SaslMechanism, origin: Origin): Login {
    const isOpen = this.isOpen
    if (isScram(mechanism)) {
      return new ScramLogin(mechanism, isOpen ? openUsers : this.#scramUsers(origin))
    }
    return new PlainLogin(async (user, password) =>
      isOpen ? anybody : this.checkPassword(user, password, origin),
    )
  }

  /** Who this is, or `undefined` if user and password do not match or it has been tried too often. */
  async checkPassword(
    user: string,
    password: string,
    origin: Origin,
  ): Promise<Identity | undefined> {
    if (this.isOpen) return anybody
    let isRepeated = false
    const identity = await this.#settle(user, origin, async () => {
      const known = this.#table?.users.get(user)
      const digest = createHmac('sha256', this.#passwordKey).update(password).digest()
      const right = known && this.#rightPasswords.get(known)
      isRepeated = right !== undefined && timingSafeEqual(right, digest)
      if (isRepeated) return true
      const { salt, storedKey } = this.#verifierOf(user, passwordMechanism)
      const keys = await this.#turns.run(() =>
        scramKeys(passwordMechanism, password, salt, this.#iterations),
      )
      const isRight = timingSafeEqual(keys.storedKey, storedKey) && known !== undefined
      if (isRight) this.#rightPasswords.set(known, digest)
      return isRight && this.#table?.users.get(user) === known
    })
    // Over HTTP every request brings the password: once is enough to be written down.
    const isKnown = isRepeated && (origin.via === 'http' || origin.via === 'https')
    if (identity !== undefined && !isKnown) {
      this.loggedIn(identity, origin)
    }
    return identity
  }

  /** Somebody is in, by a password or a certificate. */
  loggedIn(identity: Identity, origin: Origin): void {
    this.figures.succeeded++
    this.#options.audit.record('login', { user: identity.name, ...origin })
  }

  /** Whoever signed it, or whomever it names, is not known here. */
  failedByCertificate(names: readonly string[], reason: string, origin: Origin): void {
    this.figures.failed++
    this.#options.audit.record('login-failed', { user: names[0], reason, ...origin })
  }

  /** Somebody wanted what their roles do not include. */
  denied(identity: Identity, origin: Origin, fields: object): void {
    this.#options.audit.record('refused', { ...fields, user: identity.name, ...origin })
  }

  get #iterations(): number {
    return this.#table?.iterations ?? emptyTable().iterations
  }

  #scramUsers(origin: Origin): ScramUsers {
    return {
      iterations: this.#iterations,
      verifierOf: (user, mechanism) => this.#verifierOf(user, mechanism),
      settle: async (user, verifier, isRight) => {
        const identity = await this.#settle(user, origin, async () => {
          const verifiers = this.#table?.users.get(user)?.verifiers ?? {}
          // A password that has been changed meanwhile is none.
          return isRight() && Object.values(verifiers).includes(verifier)
        })
        if (identity !== undefined) this.loggedIn(identity, origin)
        return identity
      },
    }
  }

  /** Looks at an attempt when it is its turn; counts and writes down one that fails. */
  async #settle(
    user: string,
    origin: Origin,
    isRight: () => Promise<boolean>,
  ): Promise<Identity | undefined> {
    const { audit } = this.#options
    const verdict = await this.#throttle.attempt(origin.address, user, isRight)
    const identity = verdict === 'right' ? this.#identities.get(user) : undefined
    if (identity !== undefined) return identity
    if (verdict === 'refused' || verdict === 'refused-first') {
      this.figures.refused++
      if (verdict === 'refused-first') audit.record('logins-slowed', { user, ...origin })
    } else {
      this.figures.failed++
      audit.record('login-failed', { user, ...origin })
    }
    return undefined
  }

  #verifierOf(user: string, mechanism: ScramMechanism): Verifier {
    const secret = this.#table?.secret ?? this.#passwordKey
    // Made for known users, too, so that both take the same time.
    const salt = createHmac('sha256', secret).update(`${mechanism} ${user}`).digest()
    const known = this.#table?.users.get(user)
    return known?.verifiers[mechanism] ?? verifierOfNobody(mechanism, salt)
  }

  #writeDown({ added, changed, ended }: UserChanges): void {
    const { audit } = this.#options
    for (const user of added) audit.record('user-added', { user })
    for (const user of changed) audit.record('user-changed', { user })
    for (const user of ended) {
      audit.record(this.#identities.has(user) ? 'user-changed' : 'user-removed', { user })
    }
  }

  /** What has changed, if there is anything. */
  #take(table: UserTable | undefined): UserChanges | undefined {
    const { merged, changes } = compareUsers(this.#table, table)
    if (changes === undefined) return undefined
    this.#table = merged
    const users = [...(merged?.users.values() ?? [])]
    this.#identities = new Map(users.map(({ name, roles }) => [name, identityOf(name, roles)]))
    return changes
  }
}

/** Where nobody has to log in, whatever is tried succeeds. */
const openUsers: ScramUsers = {
  iterations: 4096,
  verifierOf: (_user, mechanism) => verifierOfNobody(mechanism, randomBytes(saltLength)),
  settle: async () => anybody,
}

/** One that no password fits. */
function verifierOfNobody(mechanism: ScramMechanism, salt: Buffer): Verifier {
  const length = hashLength(mechanism)
  return {
    salt: salt.subarray(0, saltLength),
    storedKey: randomBytes(length),
    serverKey: randomBytes(length),
  }
}
