/** Which Node.js runs the daemon. */
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'

export interface NodeBinary {
  readonly path: string
  readonly version: string
  /** Removes what was fetched. */
  remove(): void
}

/**
 * A path, or `latest` for the newest of the npm package `node`, which carries the binaries; or
 * `node@22` and the like for one of its versions.
 */
export function nodeBinary(wanted: string | undefined): NodeBinary {
  if (wanted === undefined) return known(process.execPath)
  const fetched = wanted === 'latest' ? 'node@latest' : wanted
  return fetched.startsWith('node@') ? fetch(fetched) : known(resolve(wanted))
}

function known(path: string): NodeBinary {
  const version = execFileSync(path, ['--version'], { encoding: 'utf8' }).trim()
  return { path, version, remove: () => {} }
}

function fetch(specifier: string): NodeBinary {
  const folder = mkdtempSync(join(tmpdir(), 'holdfast-node-'))
  const remove = () => rmSync(folder, { recursive: true, force: true })
  try {
    const flags = ['--prefix', folder, '--no-save', '--no-audit', '--no-fund']
    execFileSync('npm', ['install', ...flags, specifier], { stdio: ['ignore', 'ignore', 'pipe'] })
    return { ...known(join(folder, 'node_modules/node/bin/node')), remove }
  } catch (error) {
    remove()
    throw error
  }
}
