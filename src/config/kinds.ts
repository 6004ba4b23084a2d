import { isIP } from 'node:net'
import { resolve } from 'node:path'
import { z } from 'zod'
import {
  callersEndpoint,
  formatEndpoint,
  noEndpoint,
  parseEndpoint,
  type Endpoint,
} from './endpoint.ts'

/**
 * What a setting's value may look like: how it is read (flags and the environment give text, a file
 * may give numbers and booleans), and how it is written back so that it can be read again.
 */
export interface Kind<Value> {
  /** Stands for the value in `--help`: `<size>`. */
  readonly placeholder: string
  readonly schema: z.ZodType<Value, unknown>
  format(value: Value): string
}

/** Least and greatest value allowed, both included. */
interface Range {
  readonly min?: number
  readonly max?: number
}

export const KiB = 1024
export const MiB = 1024 * KiB
export const GiB = 1024 * MiB
export const TiB = 1024 * GiB

const sizeUnits = { TiB, GiB, MiB, KiB, B: 1 }
const secondsUnits = { d: 86_400, h: 3_600, m: 60, s: 1, ms: 0.001 }

/** A whole number of bytes: `67108864` or `64MiB`. */
export function bytes(range: Range = {}): Kind<number> {
  const format = (value: number): string => formatUnits(value, sizeUnits, 'B')
  const read = (input: unknown): number | undefined => {
    const value = parseUnits(input, sizeUnits, 1)
    return Number.isSafeInteger(value) ? value : undefined
  }
  return kind('<size>', 'a size such as 64MiB or 1GiB', read, format, range)
}

/** A time span in seconds: `90`, `90s`, `24h`, `3d`, `500ms`. */
export function duration(range: Range = {}): Kind<number> {
  const format = (value: number): string => formatUnits(value, secondsUnits, 's')
  const read = (input: unknown): number | undefined => parseUnits(input, secondsUnits, 1)
  return kind('<duration>', 'a duration such as 60s, 24h or 3d', read, format, range)
}

/** A whole number. */
export function count(range: Range = {}): Kind<number> {
  return kind('<count>', 'a whole number', readWhole, String, range)
}

/** A TCP port; 0 lets the system pick a free one, and `off` is for what is not to be served. */
export function portOrOff(): Kind<number | 'off'> {
  const read = (input: unknown) => (input === 'off' ? input : readWhole(input))
  return kind('<port|off>', 'a port or off', read, String, { max: 65_535 })
}

/** A number of vbuckets: clients derive the vbucket from a key's hash by a modulus they agree on. */
export function powerOfTwo(range: Range): Kind<number> {
  const read = (input: unknown): number | undefined => {
    const value = readWhole(input)
    return value !== undefined && Number.isInteger(Math.log2(value)) ? value : undefined
  }
  return kind('<count>', 'a power of two', read, String, range)
}

const truths = new Map(Object.entries({ true: true, 1: true, false: false, 0: false }))

/** `true` or `false`; as a flag without a value it means `true`. */
export function boolean(): Kind<boolean> {
  const read = (input: unknown): boolean | undefined => truths.get(String(input).toLowerCase())
  return kind('[true|false]', 'true or false', read, String)
}

/** One word of a fixed list. */
export function choice<const Word extends string>(words: readonly Word[]): Kind<Word> {
  const read = (input: unknown): Word | undefined => words.find(word => word === input)
  return kind(`<${words.join('|')}>`, `one of ${words.join(', ')}`, read, String)
}

/** Several words of a fixed list: `one,other` or, in a file, a list of them; each once. */
export function words<const Word extends string>(known: readonly Word[]): Kind<readonly Word[]> {
  const read = (input: unknown): readonly Word[] | undefined => {
    const given = typeof input === 'string' ? input.split(',').map(word => word.trim()) : input
    if (!Array.isArray(given) || given.length === 0) return undefined
    if (given.some(word => !known.includes(word as Word))) return undefined
    return known.filter(word => given.includes(word))
  }
  return kind('<list>', `some of ${known.join(', ')}`, read, value => value.join(','))
}

/** A folder; kept as an absolute path, so that it names the same folder wherever it is shown. */
export function folder(): Kind<string> {
  const read = (input: unknown): string | undefined =>
    typeof input === 'string' && input !== '' && !input.includes('\0') ? resolve(input) : undefined
  return kind('<folder>', 'a path', read, String)
}

/** A file; relative to a folder that whoever reads the setting knows. */
export function file(): Kind<string> {
  const read = (input: unknown): string | undefined =>
    typeof input === 'string' && input !== '' && !input.includes('\0') ? input : undefined
  return kind('<file>', 'a path', read, String)
}

/** A file, kept as an absolute path, or `none`. */
export function fileOrNone(): Kind<string> {
  const read = (input: unknown): string | undefined => {
    if (typeof input !== 'string' || input === '' || input.includes('\0')) return undefined
    return input === noFile ? noFile : resolve(input)
  }
  return kind('<file|none>', 'a path or none', read, String)
}

export const noFile = 'none'

/** An address of this machine to listen at. */
export function address(): Kind<string> {
  const read = (input: unknown): string | undefined =>
    typeof input === 'string' && (isIP(input) !== 0 || /^[a-z\d]([a-z\d.-]*[a-z\d])?$/i.test(input))
      ? input
      : undefined
  return kind('<address>', 'an address such as 127.0.0.1', read, String)
}

/** Where clients reach the node. */
export function endpoint(): Kind<Endpoint> {
  const defaults = [callersEndpoint, noEndpoint]
  const read = (input: unknown): Endpoint | undefined =>
    typeof input === 'string' ? parseEndpoint(input) : defaults.find(each => each === input)
  const expected = 'an address such as db.example.com or db.example.com,kv=31210,mgmt=31091'
  return kind('<address>', expected, read, formatEndpoint)
}

function kind<Value>(
  placeholder: string,
  expected: string,
  read: (input: unknown) => Value | undefined,
  format: (value: Value) => string,
  range: Range = {},
): Kind<Value> {
  const schema = z.unknown().transform((input, context): Value => {
    const value = read(input)
    const problem =
      value === undefined ? `expected ${expected}` : rangeProblem(value, range, format)
    if (value !== undefined && problem === undefined) return value
    context.addIssue({ code: 'custom', message: problem ?? expected })
    return z.NEVER
  })
  return { placeholder, schema, format }
}

function rangeProblem<Value>(
  value: Value,
  { min = 0, max = Infinity }: Range,
  format: (value: Value) => string,
): string | undefined {
  if (typeof value !== 'number') return undefined
  if (value < min) return `must be at least ${format(min as Value)}`
  if (value > max) return `must be at most ${format(max as Value)}`
  return undefined
}

function readWhole(input: unknown): number | undefined {
  const value = typeof input === 'string' && /^\d+$/.test(input) ? Number(input) : input
  return Number.isSafeInteger(value) ? (value as number) : undefined
}

/** Reads `12`, `12unit` or `1.5 unit`; a bare number counts in `bare`s. */
function parseUnits(
  input: unknown,
  units: Record<string, number>,
  bare: number,
): number | undefined {
  if (typeof input === 'number') return Number.isFinite(input) && input >= 0 ? input : undefined
  if (typeof input !== 'string') return undefined
  const match = /^(\d+(?:\.\d+)?) ?([a-z]*)$/i.exec(input)
  if (match === null) return undefined
  const word = match[2]!.toLowerCase()
  const unit = Object.entries(units).find(([name]) => name.toLowerCase() === word)
  const factor = word === '' ? bare : unit?.[1]
  return factor === undefined ? undefined : Number(match[1]) * factor
}

/** Writes a value in the greatest unit that divides it. */
function formatUnits(value: number, units: Record<string, number>, smallest: string): string {
  if (value === 0) return '0'
  const fitting = Object.entries(units).find(([, factor]) => Number.isInteger(value / factor))
  return fitting === undefined ? `${value}${smallest}` : `${value / fitting[1]}${fitting[0]}`
}
