import type { Readable } from 'node:stream'
import { text } from 'node:stream/consumers'
import type { Command } from 'commander'
import {
  addUser,
  changePassword,
  changeRoles,
  listUsers,
  removeUser,
} from '../auth/user-administration.ts'
import { roleForms } from '../auth/role.ts'
import { userFileIn } from '../auth/user-file.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { Surroundings } from './surroundings.ts'

interface FolderOption {
  data: string
}

interface RolesOption extends FolderOption {
  role: string[]
}

const passwordVariable = 'HOLDFAST_NEW_PASSWORD'
const passwordFrom = `the password comes from ${passwordVariable} or standard input`

/** `holdfast user …`: works on the data folder itself, whether or not a daemon runs on it. */
export function addUserCommands(program: Command, world: Surroundings): void {
  const user = program
    .command('user')
    .description('add, change, list and remove those who may log in')
  const command = (words: string, description: string) =>
    user
      .command(words)
      .description(description)
      .option('--data <folder>', 'of the daemon', world.env['HOLDFAST_DATA'] ?? './data')
  const withRoles = (words: string, description: string) =>
    command(words, description).option(
      '--role <role>',
      `${roleForms.join(', ')} or [*]; once for each`,
      (role: string, roles: string[]) => [...roles, role],
      [] as string[],
    )
  withRoles('add <name>', `add a user; ${passwordFrom}`).action(
    async (name: string, { data, role }: RolesOption) =>
      addUser(userFileIn(data), name, await readPassword(world), role),
  )
  command('passwd <name>', `change a password, and end the sessions; ${passwordFrom}`).action(
    async (name: string, { data }: FolderOption) =>
      changePassword(userFileIn(data), name, await readPassword(world)),
  )
  withRoles('roles <name>', 'give a user these roles instead of those before').action(
    (name: string, { data, role }: RolesOption) => changeRoles(userFileIn(data), name, role),
  )
  command('remove <name>', 'remove a user, and end the sessions').action(
    (name: string, { data }: FolderOption) => removeUser(userFileIn(data), name),
  )
  command('list', 'print users and their roles').action(({ data }: FolderOption) => {
    for (const { name, roles } of listUsers(userFileIn(data))) {
      world.stdout.write(`${name}\t${roles.join(' ')}\n`)
    }
  })
}

/** Never from the command line, which others on the machine can see. */
async function readPassword({ env, stdin, stderr }: Surroundings): Promise<string> {
  const given = env[passwordVariable]
  if (given !== undefined) return given
  if ((stdin as NodeJS.ReadStream).isTTY) {
    stderr.write('password: ')
    const typed = await readUnseen(stdin as NodeJS.ReadStream)
    stderr.write('\n')
    return typed
  }
  return firstLine(await text(stdin as Readable))
}

function firstLine(given: string): string {
  return given.split(/\r?\n/, 1)[0]!
}

/** A line from a terminal that does not show what is typed. */
async function readUnseen(terminal: NodeJS.ReadStream): Promise<string> {
  const interrupt = '\u0003'
  const erase = '\u007f'
  let typed = ''
  terminal.setRawMode(true)
  try {
    for await (const chunk of terminal.setEncoding('utf8')) {
      for (const character of chunk as string) {
        if (character === '\r' || character === '\n') return typed
        if (character === interrupt) throw new CommandError(ExitCode.usage, 'interrupted')
        typed = character === erase ? typed.slice(0, -1) : typed + character
      }
    }
    return typed
  } finally {
    terminal.setRawMode(false)
  }
}
