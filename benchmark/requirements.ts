/** What cases need that npm does not bring: named with its Debian package when it is missing. */
import { accessSync, constants, existsSync, readdirSync } from 'node:fs'
import { delimiter, join } from 'node:path'

interface Requirement {
  readonly debianPackage: string
  isThere(): boolean
}

const requirements = {
  cc: { debianPackage: 'gcc libc6-dev', isThere: () => find('cc') !== undefined },
  chrt: { debianPackage: 'util-linux', isThere: () => find('chrt') !== undefined },
  memcached: { debianPackage: 'memcached', isThere: () => find('memcached') !== undefined },
  redis: { debianPackage: 'redis-server', isThere: () => find('redis-server') !== undefined },
  'redis-benchmark': {
    debianPackage: 'redis-tools',
    isThere: () => find('redis-benchmark') !== undefined,
  },
  postgresql: {
    debianPackage: 'postgresql',
    isThere: () => postgresqlPrograms() !== undefined,
  },
} as const satisfies Record<string, Requirement>

export type Need = keyof typeof requirements

/** Throws with everything that is missing at once, and what to install. */
export function assertAllThere(needs: Iterable<Need>): void {
  const missing = [...new Set(needs)].filter(need => !requirements[need].isThere())
  if (missing.length === 0) return
  const packages = missing.map(need => requirements[need].debianPackage).join(' ')
  throw new Error(`missing: ${missing.join(', ')}; on Debian: apt-get install ${packages}`)
}

/** The folder of `initdb` and `postgres`, which Debian keeps out of the path; the newest. */
export function postgresqlPrograms(): string | undefined {
  const versions = '/usr/lib/postgresql'
  if (existsSync(versions)) {
    const newest = readdirSync(versions).toSorted((one, other) => Number(other) - Number(one))[0]
    if (newest !== undefined) {
      const folder = join(versions, newest, 'bin')
      if (isProgram(join(folder, 'initdb'))) return folder
    }
  }
  const initdb = find('initdb')
  return initdb === undefined ? undefined : join(initdb, '..')
}

function find(program: string): string | undefined {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  return folders.map(folder => join(folder, program)).find(isProgram)
}

function isProgram(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}
