import { Command, CommanderError, Option } from 'commander'
import { version } from '../version.ts'
import { ConfigError } from './config-error.ts'
import { environmentName, optionGroups, optionRows, options } from './options.ts'
import { configVariable, type Given } from './sources.ts'

/** What the command line says. */
export interface CommandLine {
  readonly given: readonly Given[]
  readonly configFile: string | undefined
  readonly checkConfig: boolean
}

/**
 * Reads the arguments after the program's name. `undefined` when `--help` or `--version` was asked
 * for, and has been printed.
 */
export function readCommandLine(
  args: readonly string[],
  print: (text: string) => void,
): CommandLine | undefined {
  const command = daemonCommand(print)
  try {
    command.parse(args, { from: 'user' })
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error
    if (error.exitCode === 0) return undefined
    throw new ConfigError(error.message.replace(/^error: /, '').replaceAll('\n', ' '))
  }
  const values = command.opts<Record<string, unknown>>()
  const given = command.options.flatMap(option => {
    const flag = option.name()
    const value = values[option.attributeName()]
    return value === undefined || !settingFlags.has(flag)
      ? []
      : [{ flag, value, origin: option.long! }]
  })
  return {
    given,
    configFile: values['config'] as string | undefined,
    checkConfig: values['checkConfig'] === true,
  }
}

const settingFlags = new Set(optionRows.map(([, { flag }]) => flag))

function daemonCommand(print: (text: string) => void): Command {
  const command = new Command('holdfastd')
    .description('A node of Holdfast: serves vbuckets and their change streams, stored in LMDB.')
    .version(version, '--version', 'Print the version')
    .helpOption('--help', 'Print this')
    .allowExcessArguments(false)
    .exitOverride()
    .configureOutput({ writeOut: print, writeErr: () => {} })
    .option('--config <file>', `JSON or YAML file with settings (${configVariable})`)
    .option('--check-config', 'Print the effective settings, or what is wrong with them, and exit')
  for (const { title, rows } of optionGroups) {
    for (const [, { flag, kind, meaning, default: value }] of rows) {
      const text = `${meaning} (default: ${kind.format(value)})`
      const option = new Option(`--${flag} ${kind.placeholder}`, text).helpGroup(`${title}:`)
      // A setting whose name begins with "no-" is not the opposite of another one.
      option.negate = false
      command.addOption(option)
    }
  }
  const example = environmentName(options.purgeAgeSeconds.flag)
  return command.addHelpText(
    'after',
    `\nFlags win over the environment (--purge-age is ${example}), that over the file (purge-age:), that over defaults.`,
  )
}
