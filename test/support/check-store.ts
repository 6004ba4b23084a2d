import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { checkEnvironment } from '../../src/storage/check.ts'
import { openEnvironment } from '../../src/storage/environment.ts'
import { smallSettings } from './bucket.ts'

/** What is wrong with the tables of a closed data directory. */
export async function checkStore(directory: string): Promise<string[]> {
  const root = join(directory, 'buckets')
  const problems: string[] = []
  for (const bucket of readdirSync(root).filter(name => !name.startsWith('.'))) {
    for (const name of readdirSync(join(root, bucket))) {
      if (!name.startsWith('environment-')) continue
      const environment = openEnvironment({ ...smallSettings, directory: join(root, bucket, name) })
      problems.push(...checkEnvironment(environment).map(problem => `${bucket} ${problem}`))
      await environment.close()
    }
  }
  return problems
}
