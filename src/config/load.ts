import { closest, distance } from 'fastest-levenshtein'
import type { z } from 'zod'
import { readCommandLine } from './command-line.ts'
import { ConfigError } from './config-error.ts'
import { optionRows } from './options.ts'
import { settingsSchema } from './schema.ts'
import type { Settings } from './settings.ts'
import {
  configVariable,
  givenByDefault,
  givenByEnvironment,
  givenByFile,
  type Given,
} from './sources.ts'

/** The settings in force, and where each came from. */
export interface Configuration {
  readonly settings: Settings
  /** Flag name to `default`, `--port`, `HOLDFAST_PORT` or `port in holdfast.yaml`. */
  readonly origins: ReadonlyMap<string, string>
  /** `--check-config`: say what is in force and stop. */
  readonly checkOnly: boolean
}

/**
 * Merges defaults, file, environment and flags, the later over the earlier, and checks the whole.
 * `undefined` when the command line only asked for help, which `print` has been given.
 */
export function loadConfiguration(
  args: readonly string[],
  environment: NodeJS.ProcessEnv,
  print: (text: string) => void,
): Configuration | undefined {
  const commandLine = readCommandLine(args, print)
  if (commandLine === undefined) return undefined
  const file = commandLine.configFile ?? environment[configVariable]
  const given = [
    ...givenByDefault(),
    ...(file === undefined ? [] : givenByFile(file)),
    ...givenByEnvironment(environment),
    ...commandLine.given,
  ]
  const inForce = new Map(given.map(each => [each.flag, each]))
  const values = Object.fromEntries([...inForce].map(([flag, { value }]) => [flag, value]))
  const result = settingsSchema.safeParse(values)
  if (!result.success) {
    throw new ConfigError(
      result.error.issues.flatMap(issue => complaints(issue, inForce)).join('; '),
    )
  }
  return {
    settings: result.data,
    origins: new Map([...inForce].map(([flag, { origin }]) => [flag, origin])),
    checkOnly: commandLine.checkConfig,
  }
}

/** The settings in force as a YAML file that would bring them about, each with its origin. */
export function describeConfiguration({ settings, origins }: Configuration): string {
  const lines = optionRows.map(([name, { flag, kind }]) => [
    `${flag}: ${yamlWord(kind.format(settings[name]))}`,
    origins.get(flag),
  ])
  const width = Math.max(...lines.map(([setting]) => setting!.length))
  return lines.map(([setting, origin]) => `${setting!.padEnd(width)}  # ${origin}\n`).join('')
}

/** Quoted where YAML might read something else into it. */
function yamlWord(text: string): string {
  return /^[\w./-]+$/.test(text) ? text : JSON.stringify(text)
}

function complaints(issue: z.core.$ZodIssue, inForce: ReadonlyMap<string, Given>): string[] {
  const flags = issue.code === 'unrecognized_keys' ? issue.keys : [String(issue.path[0])]
  return flags.map(flag => {
    const { origin, value } = inForce.get(flag)!
    if (issue.code === 'unrecognized_keys') return `unknown setting ${origin}${suggestion(flag)}`
    const where = origin === 'default' ? flag : origin
    return `${where}: ${JSON.stringify(value)} ${issue.message}`
  })
}

/** The name that was probably meant, unless nothing is near. */
function suggestion(flag: string): string {
  const nearest = closest(
    flag,
    optionRows.map(([, row]) => row.flag),
  )
  return distance(flag, nearest) <= Math.max(2, flag.length / 2) ? `; did you mean ${nearest}?` : ''
}
