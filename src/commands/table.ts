/**
 * Every command this server knows: an opcode is answered if and only if it has a row here. The
 * rows of a family are beside their handlers.
 */
import { bucketRows } from './bucket.ts'
import { clusterConfigRows } from './cluster-config.ts'
import { collectionRows } from './collections.ts'
import { Command, type CommandRow } from './command.ts'
import { connectionRows } from './connection-control.ts'
import { counterRows } from './counter.ts'
import { dcpRows } from './dcp.ts'
import { errorMapRows } from './error-map.ts'
import { flushRows } from './flush.ts'
import { getRows } from './get.ts'
import { helloRows } from './hello.ts'
import { lockRows } from './locked.ts'
import { metaRows } from './meta.ts'
import { rangeScanRows } from './range-scan.ts'
import { returnMetaRows } from './return-meta.ts'
import { saslRows } from './sasl.ts'
import { statRows } from './stat.ts'
import { storeRows } from './store.ts'
import { subdocRows } from './subdoc/rows.ts'
import { touchRows } from './touch.ts'
import { vbucketRows } from './vbucket.ts'

export const commandRows: readonly CommandRow[] = [
  ...getRows,
  ...storeRows,
  ...counterRows,
  ...touchRows,
  ...lockRows,
  ...connectionRows,
  ...flushRows,
  ...statRows,
  ...helloRows,
  ...saslRows,
  ...bucketRows,
  ...vbucketRows,
  ...collectionRows,
  ...metaRows,
  ...subdocRows,
  ...rangeScanRows,
  ...returnMetaRows,
  ...clusterConfigRows,
  ...errorMapRows,
  ...dcpRows,
]

/** By opcode; undefined where there is no command. */
export const commands: readonly (Command | undefined)[] = byOpcode(commandRows)

function byOpcode(rows: readonly CommandRow[]): (Command | undefined)[] {
  const table: (Command | undefined)[] = Array.from({ length: 256 })
  for (const row of rows) table[row.opcode] = new Command(row)
  return table
}
