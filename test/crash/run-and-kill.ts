/** Runs a program that says in a file, a line each, what has to be there after it was killed. */
import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as delay } from 'node:timers/promises'

interface Program {
  /** Of this folder; its parameters are the data directory, the report, and more. */
  readonly file: string
  readonly directory: string
  readonly report: string
  readonly more?: readonly string[]
}

interface Life {
  /** Its time begins when this is so of what it has said, however slow the machine is. */
  readonly begins: (lines: readonly string[]) => boolean
  readonly aliveMs: number
}

/** Resolves with what it said, once it has been killed; fails when it ended before. */
export async function runAndKill(
  { file, directory, report, more = [] }: Program,
  { begins, aliveMs }: Life,
): Promise<{ readonly lines: string[]; readonly pid: number }> {
  const program = join(import.meta.dirname, file)
  const child = spawn(process.execPath, [program, directory, report, ...more], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  let stderr = ''
  child.stderr.on('data', text => (stderr += text))
  const ended = once(child, 'close')
  let hasEnded = false
  void ended.then(() => (hasEnded = true))
  while (!hasEnded && !begins(linesOf(report))) await delay(5)
  const timer = setTimeout(() => child.kill('SIGKILL'), aliveMs)
  const [, signal] = (await ended) as [number | null, string | null]
  clearTimeout(timer)
  assert.equal(signal, 'SIGKILL', `the writer ended by itself: ${stderr}`)
  return { lines: linesOf(report), pid: child.pid! }
}

function linesOf(report: string): string[] {
  // The last line may have been cut short.
  return existsSync(report) ? readFileSync(report, 'utf8').split('\n').slice(0, -1) : []
}
