import type { Context } from '../benchmark.ts'
import type { Server } from '../load/load-driver.ts'
import { freePort, startServerProcess, type ServerProcess } from '../server-process.ts'

/** With one thread, as every peer that is compared has one that serves; nothing is evicted. */
export async function startMemcached(context: Context): Promise<Server & ServerProcess> {
  const port = await freePort()
  const user = process.getuid?.() === 0 ? ['-u', 'nobody'] : []
  const memory = ['-m', '16384', '-M', '-c', '2048']
  const child = await startServerProcess(context, {
    command: 'memcached',
    args: ['-t', '1', '-l', '127.0.0.1', '-p', String(port), '-U', '0', ...memory, ...user],
    ready: port,
  })
  return { ...child, port, protocol: 'memcached', vbuckets: 0 }
}
