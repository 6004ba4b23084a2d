/**
 * Programs in C: what drives and what receives has to be quicker than what is measured. Compiled
 * once for each run of the suite, beside the compiled TypeScript.
 */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const folder = resolve(import.meta.dirname, '../../benchmark')
const programs = join(import.meta.dirname, 'programs')
const outputBytesMax = 64 * 2 ** 20

export interface CProgram {
  readonly name: string
  /** Relative to `benchmark/`, or absolute. */
  readonly sources: readonly string[]
  readonly libraries?: readonly string[]
  /** Behind our own, which they override. */
  readonly flags?: readonly string[]
}

const compiled = new Map<string, Promise<string>>()

/** The path of the program made of these sources. */
export function cProgram(program: CProgram): Promise<string> {
  const known = compiled.get(program.name)
  if (known !== undefined) return known
  const made = compile(program)
  compiled.set(program.name, made)
  return made
}

/** Runs it to its end and returns what it printed, which is one JSON value. */
export async function runForJson(program: string, args: readonly string[]): Promise<unknown> {
  const { stdout } = await run(program, args, { maxBuffer: outputBytesMax })
  return JSON.parse(stdout)
}

async function compile({ name, sources, libraries = [], flags = [] }: CProgram): Promise<string> {
  mkdirSync(programs, { recursive: true })
  const program = join(programs, name)
  const paths = sources.map(source => resolve(folder, source))
  const strict = ['-std=c11', '-O2', '-Wall', '-Wextra', ...flags]
  await run('cc', [...strict, '-o', program, ...paths, ...libraries.map(library => `-l${library}`)])
  return program
}
