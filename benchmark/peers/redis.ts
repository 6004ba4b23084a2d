import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import type { Context } from '../benchmark.ts'
import type { Server } from '../load/load-driver.ts'
import { freePort, startServerProcess, type ServerProcess } from '../server-process.ts'

/**
 * With an append-only file. What would disturb it is switched off, in its favour: the file is
 * never rewritten, no snapshots are made on the side, a full sync begins without delay and tries
 * to compress nothing, as values are noise.
 */
export async function startRedis(
  context: Context,
  appendfsync: 'everysec' | 'always',
): Promise<Server & ServerProcess> {
  const port = await freePort()
  const folder = join(context.folder, `redis-${port}`)
  mkdirSync(folder)
  const settings = {
    port: String(port),
    bind: '127.0.0.1',
    dir: folder,
    save: '',
    appendonly: 'yes',
    appendfsync,
    'auto-aof-rewrite-percentage': '0',
    'repl-diskless-sync': 'yes',
    'repl-diskless-sync-delay': '0',
    rdbcompression: 'no',
    'client-output-buffer-limit': 'replica 0 0 0',
  }
  const child = await startServerProcess(context, {
    command: 'redis-server',
    args: Object.entries(settings).flatMap(([name, value]) => [`--${name}`, value]),
    ready: port,
  })
  return { ...child, port, protocol: 'resp', vbuckets: 0 }
}
