import { execFile, execFileSync } from 'node:child_process'
import { chmodSync, chownSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Context } from '../benchmark.ts'
import { postgresqlPrograms } from '../requirements.ts'
import { freePort, startServerProcess, type ServerProcess } from '../server-process.ts'

const run = promisify(execFile)

export interface PostgreSql extends ServerProcess {
  readonly port: number
  query(text: string): Promise<void>
}

/** A cluster of its own in the folder of the case, with memory for what the cases store. */
export async function startPostgreSql(context: Context): Promise<PostgreSql> {
  const programs = postgresqlPrograms()!
  const port = await freePort()
  const folder = join(context.folder, 'postgresql')
  mkdirSync(folder, { mode: 0o700 })
  const user = unprivilegedUser()
  if (user !== undefined) {
    // It has to get there through the folder of the case.
    chmodSync(context.folder, 0o711)
    chownSync(folder, user.uid, user.gid)
  }
  const cluster = join(folder, 'cluster')
  const flags = ['-D', cluster, '-U', 'postgres', '--auth', 'trust', '--no-sync', '-E', 'UTF8']
  await run(join(programs, 'initdb'), flags, { ...user, cwd: folder })
  const settings = {
    port: String(port),
    listen_addresses: '127.0.0.1',
    unix_socket_directories: folder,
    // Tables of more than a quarter of it are read past it.
    shared_buffers: '4GB',
    max_wal_size: '8GB',
    autovacuum: 'off',
  }
  const child = await startServerProcess(context, {
    command: join(programs, 'postgres'),
    args: [
      '-D',
      cluster,
      ...Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    ],
    ...user,
    cwd: folder,
    // At once, but by itself: killed, it would leave processes and shared memory behind.
    endWith: 'SIGQUIT',
    ready: /database system is ready to accept connections/,
  })
  const access = ['-h', '127.0.0.1', '-p', String(port), '-U', 'postgres', '-v', 'ON_ERROR_STOP=1']
  const query = async (text: string) => {
    await run(join(programs, 'psql'), [...access, '-c', text])
  }
  return { ...child, port, query }
}

/** It refuses to run as root. */
function unprivilegedUser(): { readonly uid: number; readonly gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
