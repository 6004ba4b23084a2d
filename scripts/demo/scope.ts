/** Ends what was started, last first, whatever happened in between. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

export class Scope {
  readonly #ends: (() => Promise<unknown>)[] = []

  teardown(end: () => Promise<unknown>): void {
    this.#ends.push(end)
  }

  /** An empty directory that goes with the scope. */
  testdir(): string {
    const directory = mkdtempSync(join(tmpdir(), 'holdfast-demo-'))
    this.#ends.unshift(async () => rmSync(directory, { recursive: true, force: true }))
    return directory
  }

  async close(): Promise<void> {
    for (const end of this.#ends.toReversed()) await end()
    this.#ends.length = 0
  }
}
