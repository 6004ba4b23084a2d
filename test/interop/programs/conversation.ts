/** A client's program that is told what to do line by line, and answers in JSON. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { Test } from 'tap'
import type { Program } from './tool-chains.ts'

/** A program that does not answer within this is killed. */
const deadlineMs = 30_000

export class Conversation<Answer> {
  readonly #child
  readonly #answers: AsyncIterator<string>
  readonly #ended: Promise<unknown>
  #stderr = ''

  /** The program is killed when the test ends. */
  constructor(t: Test, { command, words }: Program, more: readonly string[]) {
    const child = (this.#child = spawn(command, [...words, ...more], { stdio: 'pipe' }))
    this.#ended = once(child, 'close')
    t.teardown(async () => {
      child.kill('SIGKILL')
      await this.#ended
    })
    child.stdin.on('error', () => undefined)
    child.stderr.on('data', (chunk: Buffer) => {
      this.#stderr = (this.#stderr + chunk.toString()).slice(-8_000)
    })
    this.#answers = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  }

  /** Says a line; resolves with the answer. */
  async ask(line: string): Promise<Answer> {
    this.#child.stdin.write(`${line}\n`)
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), deadlineMs)
    const { value, done } = await this.#answers.next().finally(() => clearTimeout(timer))
    if (done === true) {
      await this.#ended
      throw new Error(`the program has ended: ${this.#stderr}`)
    }
    return JSON.parse(value as string) as Answer
  }

  /** What it has written to its standard error, the end of it. */
  get complaints(): string {
    return this.#stderr
  }

  /** Resolves when the program has ended by itself. */
  async ended(): Promise<void> {
    await this.#ended
  }
}
