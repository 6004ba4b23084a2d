/** Those who are compared under key-value loads, all running and filled. */
import type { Context } from './benchmark.ts'
import { benchmarkDaemon } from './daemon.ts'
import { fill, type Documents } from './load/load-driver.ts'
import type { MeasuredServer } from './measured-load.ts'
import { startMemcached } from './peers/memcached.ts'
import { startRedis } from './peers/redis.ts'
import { untilQuiet } from './process-usage.ts'

export const serverNames = ['holdfast', 'memcached', 'redis'] as const
export type ServerName = (typeof serverNames)[number]

/** Those who are not measured at the moment only wait, which costs next to nothing. */
export async function filledServers(
  context: Context,
  documents: Documents,
): Promise<Record<ServerName, MeasuredServer>> {
  const servers = {
    holdfast: await benchmarkDaemon(context),
    memcached: await startMemcached(context),
    redis: await startRedis(context, 'everysec'),
  }
  for (const name of serverNames) {
    context.progress(`storing ${documents.keys} documents of ${documents.valueBytes} B in ${name}`)
    await fill(servers[name], documents)
    await untilQuiet(servers[name].pid)
  }
  return servers
}
