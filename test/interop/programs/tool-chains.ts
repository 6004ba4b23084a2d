/**
 * What other languages need to run their clients: fetched once from their registries, by the
 * clients of those, into a folder that is not part of the repository.
 */
import { execFile } from 'node:child_process'
import { cpSync, existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import tap, { type Test } from 'tap'

const root = resolve(import.meta.dirname, '../../../..')
const sources = join(root, 'test/interop')
const cache = join(root, '.cache/interop')

/** Of a download or a build: without anything in Go's cache, or Maven's, on a busy machine, it takes minutes. */
const deadlineMs = 20 * 60_000
/** Of the test file that waits for them, which is otherwise given what `.taprc` says. */
const fileDeadlineMs = 30 * 60_000

/** How a client's program is started; its own words follow. */
export interface Program {
  readonly command: string
  readonly words: readonly string[]
}

async function run(command: string, words: readonly string[], cwd = root): Promise<string> {
  const limits = { timeout: deadlineMs, maxBuffer: 64 * 1024 * 1024 }
  return (await promisify(execFile)(command, words, { cwd, ...limits })).stdout
}

async function python(): Promise<Program> {
  const requirements = join(sources, 'python/requirements.txt')
  const folder = join(cache, 'python')
  const command = join(folder, 'bin/python')
  const done = join(folder, 'requirements.txt')
  if (!existsSync(done) || readFileSync(done, 'utf8') !== readFileSync(requirements, 'utf8')) {
    await run('python3', ['-m', 'venv', '--clear', folder])
    await run(command, ['-m', 'pip', 'install', '--quiet', '--requirement', requirements])
    cpSync(requirements, done)
  }
  return { command, words: [join(sources, 'python/features.py')] }
}

/** Java's programs differ in the class that is named first. */
async function java(): Promise<Program> {
  const folder = join(cache, 'java')
  mkdirSync(folder, { recursive: true })
  const list = join(folder, 'classpath')
  const pom = join(sources, 'java/pom.xml')
  const goal = ['dependency:build-classpath', `-Dmdep.outputFile=${list}`]
  await run('mvn', ['--quiet', '--batch-mode', '--file', pom, ...goal])
  const classpath = readFileSync(list, 'utf8')
  const classes = join(folder, 'classes')
  const places = ['Sdk', 'Dcp'].map(name =>
    join(sources, `java/src/main/java/interop/${name}.java`),
  )
  await run('javac', ['-d', classes, '-classpath', classpath, ...places])
  return { command: 'java', words: ['-classpath', `${classes}:${classpath}`] }
}

/** Of a folder in Go's, its program. */
async function buildInGo(folder: string, name: string): Promise<Program> {
  const command = join(cache, 'go', name)
  await run('go', ['build', '-o', command, folder], join(sources, 'go'))
  return { command, words: [] }
}

const toolChains = {
  python,
  java,
  go: () => buildInGo('.', 'interop'),
  goDatasource: () => buildInGo('./datasource', 'datasource'),
}

/**
 * The program of a language. Without its tools, or without a network to fetch what is missing, the
 * test is skipped by name; in continuous integration that is a failure.
 */
export async function programIn(
  t: Test,
  language: keyof typeof toolChains,
): Promise<Program | undefined> {
  for (const waiting of [tap, t]) waiting.setTimeout(fileDeadlineMs)
  try {
    return await toolChains[language]()
  } catch (error) {
    if (process.env['CI'] === 'true') throw error
    const reason = String(error).split('\n')[0]!
    t.pass(language, { skip: `${language} or its client is not to be had: ${reason}` })
    return undefined
  }
}
