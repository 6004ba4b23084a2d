import { readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { cProgram, runForJson } from './c-program.ts'

const forget = { name: 'forget', sources: ['limits/forget.c'] }

/** Some pages may be under way to the disk; more than this means that it did not work. */
const stayedBytesMax = 2 ** 20

/** Has all files of a folder read from disk again by the next who wants them. */
export async function forgetPages(folder: string): Promise<void> {
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .map(name => join(folder, name))
    .filter(path => statSync(path).isFile())
  const { bytes } = (await runForJson(await cProgram(forget), files)) as { bytes: number }
  if (bytes > stayedBytesMax) throw new Error(`${bytes} bytes of ${folder} stayed in memory`)
}
