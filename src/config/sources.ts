import { readFileSync } from 'node:fs'
import { totalmem } from 'node:os'
import { extname } from 'node:path'
import { parse as parseYaml, YAMLParseError } from 'yaml'
import { ConfigError } from './config-error.ts'
import { optionRows } from './options.ts'

/** One value as somebody gave it, with the words that tell them where. */
export interface Given {
  readonly flag: string
  readonly value: unknown
  /** `--port`, `HOLDFAST_PORT` or `port in holdfast.yaml`. */
  readonly origin: string
}

export const configVariable = 'HOLDFAST_CONFIG'
const prefix = 'HOLDFAST_'

/** The password of the first user, who is made when there are none. */
export const adminPasswordVariable = 'HOLDFAST_ADMIN_PASSWORD'

/** That one, and those of the command line `holdfast`, which people set in the same shell. */
const noSettings = new Set([
  configVariable,
  adminPasswordVariable,
  'HOLDFAST_BUCKET',
  'HOLDFAST_USER',
  'HOLDFAST_PASSWORD',
  'HOLDFAST_NEW_PASSWORD',
  'HOLDFAST_ARCHIVE',
  'HOLDFAST_STAGING',
  'HOLDFAST_PASSPHRASE',
])

/** `memoryBytes`: what the machine has. */
export function givenByDefault(memoryBytes = memoryThereIs()): Given[] {
  return optionRows.map(([, { flag, default: usual, memoryShareMax }]) => {
    const isShare = memoryShareMax !== undefined && typeof usual === 'number'
    const value = isShare ? Math.min(usual, Math.floor(memoryShareMax * memoryBytes)) : usual
    return { flag, value, origin: 'default' }
  })
}

/** Of the machine, or of the container if it gets less. */
function memoryThereIs(): number {
  // 0 where nothing limits it, or where that is not known.
  return Math.min(totalmem(), process.constrainedMemory() || Infinity)
}

/** Every `HOLDFAST_*` variable, known or not: a misspelt one must not pass in silence. */
export function givenByEnvironment(environment: NodeJS.ProcessEnv): Given[] {
  return Object.entries(environment)
    .filter(([variable]) => variable.startsWith(prefix))
    .filter(([variable]) => !noSettings.has(variable))
    .map(([variable, value]) => ({
      flag: variable.slice(prefix.length).toLowerCase().replaceAll('_', '-'),
      value,
      origin: variable,
    }))
}

/** The settings of a JSON (`.json`) or YAML (`.yaml`, `.yml`) file. */
export function givenByFile(path: string): Given[] {
  const parse = parsers.get(extname(path))
  if (parse === undefined) {
    throw new ConfigError(`cannot tell how to read ${path}: name it .yaml, .yml or .json`)
  }
  const settings = parseFile(path, parse)
  if (settings === null || settings === undefined) return []
  if (typeof settings !== 'object' || Array.isArray(settings)) {
    throw new ConfigError(`${path} must hold settings by name, such as "port: 11210"`)
  }
  return Object.entries(settings).map(([flag, value]) => ({
    flag,
    value: value as unknown,
    origin: `${flag} in ${path}`,
  }))
}

const parsers = new Map<string, (text: string) => unknown>([
  ['.json', text => JSON.parse(text) as unknown],
  ['.yaml', readYaml],
  ['.yml', readYaml],
])

function readYaml(text: string): unknown {
  // Warnings would quote the file.
  return parseYaml(text, { logLevel: 'error' })
}

function parseFile(path: string, parse: (text: string) => unknown): unknown {
  let text: string
  try {
    text = readFileSync(path, 'utf8')
  } catch (cause) {
    throw new ConfigError(`cannot read ${path}: ${(cause as Error).message}`, { cause })
  }
  try {
    return parse(text)
  } catch (error) {
    throw new ConfigError(`cannot read ${path}: ${whatIsWrong(error)}`)
  }
}

/**
 * What kind of mistake, and where. Parsers quote what they stumble over, which may be a password that
 * somebody has put into the file.
 */
function whatIsWrong(error: unknown): string {
  if (error instanceof YAMLParseError) {
    const [at] = error.linePos ?? []
    const where = at === undefined ? '' : ` at line ${at.line}, column ${at.col}`
    return `${error.code.toLowerCase().replaceAll('_', ' ')}${where}`
  }
  const position = /position \d+/.exec((error as Error).message)?.[0]
  return position === undefined ? 'malformed' : `malformed at ${position}`
}
