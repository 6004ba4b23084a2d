import { mkdirSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from './benchmark.ts'

/** A part of a case with a folder and servers of its own, which are gone when it is over. */
export async function part<T>(
  context: Context,
  name: string,
  run: (context: Context) => Promise<T>,
): Promise<T> {
  const folder = join(context.folder, name)
  mkdirSync(folder)
  const ends: (() => Promise<unknown> | void)[] = [
    () => rmSync(folder, { recursive: true, force: true }),
  ]
  const cleanUp = async () => {
    for (let end = ends.pop(); end !== undefined; end = ends.pop()) await end()
  }
  // For an end of the whole case in the middle of this.
  context.cleanUp(cleanUp)
  try {
    return await run({ ...context, folder, cleanUp: end => ends.push(end) })
  } finally {
    await cleanUp()
  }
}
