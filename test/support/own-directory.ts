import { mkdtempSync } from 'node:fs'
import { join } from 'node:path'
import type { Test } from 'tap'

const prepared = new WeakSet<Test>()

/** A new one at each call, gone with the test: `testdir` empties the one that it gave before. */
export function ownDirectory(t: Test): string {
  if (!prepared.has(t)) t.testdir()
  prepared.add(t)
  return mkdtempSync(join(t.testdirName, 'data-'))
}
