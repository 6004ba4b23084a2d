import { join } from 'node:path'
import { Access, type AccessOptions } from '../../src/auth/access.ts'
import { silentAudit, type AuditEvent, type AuditLog } from '../../src/auth/audit.ts'
import { changeUserFile } from '../../src/auth/user-file.ts'
import { makeUser } from '../../src/auth/user.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'

/** What is needed of a tap test. */
interface Test {
  teardown(end: () => unknown): void
  testdirName: string
}

/** Those who may come in: everybody, unless there are users; closed when the test ends. */
export function accessTo(t: Test, options: Partial<AccessOptions> = {}): Access {
  const access = new Access({
    userFile: join(t.testdirName, 'users.json'),
    noAuth: false,
    openWithoutUsers: true,
    clock: systemClock,
    log: silentLog,
    audit: silentAudit,
    ...options,
  })
  t.teardown(() => access.close())
  return access
}

export interface TestUser {
  name: string
  password: string
  roles: string[]
}

/** Puts users into a file, in place of those of the same name; little is derived, for speed. */
export async function writeUsers(userFile: string, ...users: TestUser[]): Promise<void> {
  await changeUserFile(userFile, async table => {
    const iterations = 4096
    const made = users.map(({ name, password, roles }) =>
      makeUser(name, password, roles, iterations),
    )
    const merged = new Map(table.users)
    for (const user of await Promise.all(made)) merged.set(user.name, user)
    return { ...table, iterations, users: merged }
  })
}

export async function removeUsers(userFile: string, ...names: string[]): Promise<void> {
  await changeUserFile(userFile, table => {
    const users = [...table.users].filter(([name]) => !names.includes(name))
    return { ...table, users: new Map(users) }
  })
}

/** Keeps what is written down, and tells who waits for it. */
export class KeptAudit implements AuditLog {
  readonly entries: { event: AuditEvent; [field: string]: unknown }[] = []

  record(event: AuditEvent, fields: object): void {
    this.entries.push({ event, ...fields })
  }

  of(event: AuditEvent) {
    return this.entries.filter(entry => entry.event === event)
  }
}
