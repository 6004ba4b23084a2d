/**
 * A process that writes until its disk is full, told so by a limit on the size of its files. It
 * says on standard output what it sees, one JSON object a line, and goes on when it can.
 */
import { Status } from '../../protocol/status.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { Buckets } from '../../src/vbucket/buckets.ts'
import { committed, read, smallSettings, storing } from '../support/bucket.ts'

const say = (message: object) => process.stdout.write(`${JSON.stringify(message)}\n`)
const buckets = await Buckets.open({
  directory: process.argv[2]!,
  settings: { ...smallSettings, changeLogBytes: 0 },
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  segmentBytes: 64 * 1024,
})
const bucket = buckets.get('default')!
const vbucket = bucket.vbucket(1)!
const value = 'x'.repeat(10_000)
let persisted = -1

/** Writes documents until one is refused; how many are on disk is in `persisted`. */
async function fill(from: number): Promise<Status> {
  for (let i = from; ; i++) {
    const status = bucket.documents.store(vbucket, storing(`key-${i}`, `${i}:${value}`))
    if (status !== Status.success) return status
    bucket.afterCommit(() => (persisted = i))
    if (i % 50 === 0) await Promise.race([committed(bucket), failing()])
  }
}

async function failing(): Promise<void> {
  while (!bucket.failure) await new Promise(resolve => setTimeout(resolve, 5))
}

const status = await fill(0)
let readable = 0
for (let i = 0; i <= persisted; i++) {
  if (read(bucket, vbucket, `key-${i}`)?.startsWith(`${i}:`)) readable++
}
say({ status, code: bucket.failure?.code, hint: bucket.failure?.hint, persisted, readable })
while (bucket.failure) await new Promise(resolve => setTimeout(resolve, 20))
await committed(bucket)
const { highSeqno, persistedSeqno } = vbucket
say({ status: bucket.documents.store(vbucket, storing('after', 'v')), highSeqno, persistedSeqno })
await buckets.close()
