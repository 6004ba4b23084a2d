import { once } from 'node:events'
import { mkdirSync } from 'node:fs'
import { connect } from 'node:net'
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
    // With a delay, as many as are waited for at most.
    'repl-diskless-sync-max-replicas': '4',
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

/** One command as a person would type it; fails if it is refused. */
export async function redisCommand(port: number, command: string): Promise<string> {
  const socket = connect({ port, host: '127.0.0.1' }).setEncoding('utf8')
  try {
    socket.write(`${command}\r\n`)
    const [answer] = (await once(socket, 'data')) as [string]
    if (answer.startsWith('-')) throw new Error(`redis, ${command}: ${answer}`)
    return answer
  } finally {
    socket.destroy()
  }
}
