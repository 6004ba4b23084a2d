/**
 * Copies what is in use of an environment, in a process of its own: see compaction.ts. Ends with 0
 * once the copy is on disk and has as many entries as the original.
 *
 * Entry by entry, as LMDB's own compacting copy leaves a file behind in which lmdb's way of looking for
 * free pages comes to an end in an assertion (a list that is empty at a late transaction).
 *
 * It ends by itself when the daemon that started it is gone: the next one may be using the original.
 *
 *   compaction-process DIRECTORY COPY MAP-SIZE DAEMON-PID
 */
import { strict as assert } from 'node:assert'
import type { Database } from 'lmdb'
import { openEnvironment, type Environment } from './environment.ts'
import { syncDirectory } from './sync-directory.ts'

/** Of one transaction, which has what it writes in memory. */
const batchBytes = 32 * 2 ** 20

const [directory, copy, mapSize, daemon] = process.argv.slice(2) as [string, string, string, string]
const options = { mapSizeBytes: Number(mapSize), readerSlotsMax: 1 }

assertWanted()
const original = openEnvironment({ ...options, directory })
const compacted = openEnvironment({ ...options, directory: copy, create: true })
for (const table of Object.keys(original.entries())) copyTable(table)
assert.deepEqual(compacted.entries(), original.entries(), 'the copy has as many entries')
await compacted.close()
await original.close()
syncDirectory(copy)

/** In the order of its keys, which leaves full pages. */
function copyTable(name: string): void {
  const into = bytesOf(compacted, name)
  const entries = bytesOf(original, name).getRange({})[Symbol.iterator]()
  let next = entries.next()
  while (next.done !== true) {
    assertWanted()
    compacted.write(() => {
      for (let bytes = 0; bytes < batchBytes && next.done !== true; next = entries.next()) {
        const { key, value } = next.value
        into.putSync(key, value)
        bytes += value.length
      }
    })
  }
}

function assertWanted(): void {
  assert.equal(process.ppid, Number(daemon), 'the daemon is gone')
}

/** A table as what LMDB sees of it. */
function bytesOf({ root }: Environment, name: string): Database<Buffer, Buffer> {
  return root.openDB<Buffer, Buffer>(name, { keyEncoding: 'binary', encoding: 'binary' } as never)
}
