/**
 * A process that opens a data directory and writes durably until a write is refused. It says in a
 * file, one JSON array a line, what it was told to be durable, so that it may be killed:
 *
 *   ["open", {vbid: high seqno}]   served from now on
 *   ["code", code, hint]           it cannot be opened
 *   ["durable", vbid, key]         the value begins with the key
 *   ["refused", status, code]      it writes no more
 */
import { openSync, writeSync } from 'node:fs'
import { Status } from '../../protocol/status.ts'
import { systemClock } from '../../src/clock.ts'
import { OperatorError } from '../../src/errors.ts'
import { silentLog } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { Buckets, type BucketsOptions } from '../../src/vbucket/buckets.ts'
import { durable, smallSettings, storing } from '../support/bucket.ts'

const [directory = '', report = '', settingsText = '{}', countText = 'Infinity'] =
  process.argv.slice(2)
const file = openSync(report, 'w')
const say = (...message: unknown[]) => writeSync(file, `${JSON.stringify(message)}\n`)
const settings = JSON.parse(settingsText) as Partial<BucketsOptions['settings']>
const padding = 'x'.repeat(10_000)

const buckets = await Buckets.open({
  directory,
  settings: { ...smallSettings, changeLogBytes: 0, ...settings },
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  segmentBytes: 64 * 1024,
}).catch((error: unknown) => {
  if (!(error instanceof OperatorError)) throw error
  say('code', error.code, error.hint)
  process.exit(1)
})
const bucket = buckets.get('default')!
say('open', Object.fromEntries([...bucket.vbuckets()].map(({ id, highSeqno }) => [id, highSeqno])))

/** Ten at a time. */
async function writeAll(target: Bucket): Promise<number> {
  for (let i = 0; i < Number(countText); i++) {
    const vbid = i % 2
    const key = `key-${i}`
    const status = target.documents.store(target.vbucket(vbid)!, storing(key, `${key}:${padding}`))
    if (status !== Status.success) return status
    const done = durable(target).then(() => say('durable', vbid, key))
    // One that LMDB cannot take, and the journal does not, is never told to be durable.
    if (i % 10 === 9) await Promise.race([done, failing(target)])
  }
  return Status.success
}

async function failing(target: Bucket): Promise<void> {
  while (target.failure === undefined) await new Promise(resolve => setTimeout(resolve, 5))
}

say('refused', await writeAll(bucket), bucket.failure?.code)
setInterval(() => undefined, 1000)
