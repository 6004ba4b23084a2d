/**
 * Programs in C: what drives and what receives has to be quicker than what is measured. Compiled
 * once for each run of the suite, beside the compiled TypeScript.
 */
import { execFile } from 'node:child_process'
import { mkdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'

const run = promisify(execFile)
const sources = resolve(import.meta.dirname, '../../benchmark')
const programs = join(import.meta.dirname, 'programs')
const outputBytesMax = 64 * 2 ** 20

const compiled = new Map<string, Promise<string>>()

/** The path of the program made of these sources, whose paths are relative to `benchmark/`. */
export function cProgram(
  name: string,
  files: readonly string[],
  libraries: readonly string[] = [],
) {
  const known = compiled.get(name)
  if (known !== undefined) return known
  const made = compile(name, files, libraries)
  compiled.set(name, made)
  return made
}

/** Runs it to its end and returns what it printed, which is one JSON value. */
export async function runForJson(program: string, args: readonly string[]): Promise<unknown> {
  const { stdout } = await run(program, args, { maxBuffer: outputBytesMax })
  return JSON.parse(stdout)
}

async function compile(name: string, files: readonly string[], libraries: readonly string[]) {
  mkdirSync(programs, { recursive: true })
  const program = join(programs, name)
  const paths = files.map(file => join(sources, file))
  const flags = ['-std=c11', '-O2', '-Wall', '-Wextra']
  await run('cc', [...flags, '-o', program, ...paths, ...libraries.map(library => `-l${library}`)])
  return program
}
