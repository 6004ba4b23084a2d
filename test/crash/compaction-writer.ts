/**
 * A process whose files are mostly free again and again, and are written anew while it writes durably. It
 * says in a file, one JSON array a line, what it was told to be durable, so that it may be killed:
 *
 *   ["released"]                  the last snapshot is gone
 *   ["durable", vbid, key, value]
 *   ["compactions", count]
 */
import { openSync, writeSync } from 'node:fs'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { Buckets } from '../../src/vbucket/buckets.ts'
import { committed, durable, set, untilJournalAnswers } from '../support/bucket.ts'
import { compactionSettings, largeDocuments } from './settings.ts'

const [directory = '', report = ''] = process.argv.slice(2)
const file = openSync(report, 'w')
const say = (...message: unknown[]) => writeSync(file, `${JSON.stringify(message)}\n`)

const buckets = await Buckets.open({
  directory,
  settings: compactionSettings,
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  segmentBytes: 64 * 1024,
})
const bucket = buckets.get('default')!
await untilJournalAnswers(bucket, bucket.vbucket(9)!)

async function write(value: string): Promise<void> {
  for (let index = 0; index < largeDocuments; index++) {
    set(bucket, bucket.vbucket(index % 16)!, `document-${index}`, `${index} ${value}`)
  }
  await committed(bucket)
}

for (let round = 0; ; round++) {
  await write('x'.repeat(2 ** 20))
  const request = { holder: `client-${round}`, reason: 'test', atLeastSeqno: 0 }
  const pinned = await bucket.snapshots.pin(1, request)
  await write('small')
  pinned.release()
  say('released')
  const { compactions } = bucket.statistics()
  for (let turn = 0; bucket.statistics().compactions === compactions && turn < 2000; turn++) {
    const vbid = turn % 16
    const key = `key-${turn % 300}`
    const value = `${process.pid} ${round} ${turn}`
    set(bucket, bucket.vbucket(vbid)!, key, value)
    await durable(bucket)
    say('durable', vbid, key, value)
    await new Promise(resolve => setTimeout(resolve, 1))
  }
  const count = bucket.statistics().compactions
  if (count > compactions) say('compactions', count)
}
