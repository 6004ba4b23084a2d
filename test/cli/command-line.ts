import { spawn, type ChildProcessByStdio } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable, Writable } from 'node:stream'

const program = resolve(import.meta.dirname, '../../bin/holdfast.js')

export interface Finished {
  code: number | string
  stdout: string
  stderr: string
}

/** The command line in a process of its own, as a user runs it. */
export class CommandLine {
  readonly process: ChildProcessByStdio<Writable, Readable, Readable>
  readonly lines: string[] = []
  readonly finished: Promise<Finished>
  #waiting: { count: number; resolve: () => void } | undefined

  constructor(port: number, words: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [program, ...words], {
      stdio: 'pipe',
      env: { PATH: process.env['PATH'], HOLDFAST_PORT: String(port), ...env },
    })
    let stderr = ''
    this.process.stderr.on('data', chunk => (stderr += chunk))
    createInterface({ input: this.process.stdout }).on('line', line => {
      this.lines.push(line)
      if (this.#waiting && this.lines.length >= this.#waiting.count) this.#waiting.resolve()
    })
    this.finished = once(this.process, 'close').then(([code, signal]) => {
      this.#waiting?.resolve()
      return { code: (code ?? signal) as number | string, stdout: this.lines.join('\n'), stderr }
    })
  }

  /** The changes printed so far. */
  changes(): Record<string, unknown>[] {
    return this.lines.map(line => JSON.parse(line) as Record<string, unknown>)
  }

  /** Resolves when so many lines were printed, or the process ended. */
  async untilLines(count: number): Promise<void> {
    if (this.lines.length >= count) return
    await new Promise<void>(resolve => (this.#waiting = { count, resolve }))
  }
}

/** Runs to the end, with `input` on standard input. */
export function runCommandLine(
  port: number,
  words: readonly string[],
  input: string | Buffer = '',
  env: NodeJS.ProcessEnv = {},
): Promise<Finished> {
  const command = new CommandLine(port, words, env)
  command.process.stdin.end(input)
  return command.finished
}
