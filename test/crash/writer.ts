/**
 * A process to be killed: it opens a data directory and changes it as fast as it can, saying in a
 * file what is on disk, one JSON array a line:
 *
 *   ["open", [[vbid, state, high seqno, vbuuid], …]]      served from now on
 *   ["life", vbid, life]          what was said of the vbucket so far is void: it is emptied
 *   ["write", vbid, life, seqno, key, value]              on disk; value null: deleted
 *   ["state", vbid, state, vbuuid]                        on disk
 */
import { openSync, writeSync } from 'node:fs'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { systemClock } from '../../src/clock.ts'
import { silentLog } from '../../src/log.ts'
import { systemRandom } from '../../src/random.ts'
import { Buckets } from '../../src/vbucket/buckets.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'
import { smallSettings, storing } from '../support/bucket.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { crashSettings, droppedVbid, toggledVbid } from './settings.ts'

const [directory = '', report = '', seed = '1'] = process.argv.slice(2)
const reportFile = openSync(report, 'w')
const random = seededRandom(Number(seed))
const upTo = (limit: number) => Math.floor(random() * limit)
/** Written before anything else happens; what is written to a file outlives the process. */
const say = (...message: unknown[]) => writeSync(reportFile, `${JSON.stringify(message)}\n`)

const buckets = await Buckets.open({
  directory,
  settings: { ...smallSettings, ...crashSettings },
  clock: systemClock,
  random: systemRandom,
  log: silentLog,
  segmentBytes: 64 * 1024,
})
const bucket = buckets.get('default')!
const { documents } = bucket
const lives = new Map<number, number>()
const lifeOf = (vbid: number) => lives.get(vbid) ?? 0
let counter = 0

type Written = ['write', number, number, number, string, string | null]

function change(vbucket: Vbucket): Written | undefined {
  const key = `key-${upTo(400)}`
  const request = storing(
    key,
    `${key}=${++counter}:`.padEnd(20 + upTo(counter % 50 === 0 ? 20_000 : 300), '.'),
  )
  const isDeletion = random() < 0.25
  if (!isDeletion && random() < 0.2) request.expiry = 1_000_000
  const status = isDeletion ? documents.remove(vbucket, request) : documents.store(vbucket, request)
  if (status !== Status.success) return undefined
  const value = isDeletion ? null : request.value.toString()
  return ['write', vbucket.id, lifeOf(vbucket.id), documents.result.seqno, key, value]
}

function begin(vbid: number): void {
  lives.set(vbid, lifeOf(vbid) + 1)
  say('life', vbid, lifeOf(vbid))
}

/** Some changes, reported together once all of them are on disk. */
function burst(): void {
  const written: Written[] = []
  for (let i = 0; i < 60; i++) {
    const vbucket = bucket.vbucket(upTo(bucket.vbucketCount))
    const each = vbucket?.isActive ? change(vbucket) : undefined
    if (each) written.push(each)
  }
  bucket.afterDurable(() => {
    for (const each of written) say(...each)
  })
}

/** Makes a vbucket so large that its removal takes several transactions, and removes it. */
async function fillAndDrop(): Promise<void> {
  begin(droppedVbid)
  if (!bucket.vbucket(droppedVbid)) await bucket.setState(droppedVbid, VbucketState.active)
  const vbucket = bucket.vbucket(droppedVbid)!
  for (let i = 0; i < 7000; i++) documents.store(vbucket, storing(`drop-${i}`, 'v'))
  const persisted = bucket.whenPersisted(droppedVbid, vbucket.highSeqno)
  // A flush may come between: then there is nothing to wait for, nor to remove.
  if (
    !(await persisted.then(
      () => true,
      () => false,
    ))
  )
    return
  say('write', droppedVbid, lifeOf(droppedVbid), vbucket.highSeqno, 'drop-6999', 'v')
  begin(droppedVbid)
  await bucket.deleteVbucket(droppedVbid)
}

async function toggle(): Promise<void> {
  const { isActive } = bucket.vbucket(toggledVbid)!
  const state = isActive ? VbucketState.replica : VbucketState.active
  const life = lifeOf(toggledVbid)
  await bucket.setState(toggledVbid, state)
  // A flush may have begun meanwhile: the vbucket has a history already that is not on disk.
  if (lifeOf(toggledVbid) !== life) return
  const { failoverLog } = bucket.vbucket(toggledVbid)!
  say('state', toggledVbid, state, failoverLog.vbuuid.toString(16))
}

async function compact(): Promise<void> {
  const vbid = upTo(bucket.vbucketCount)
  if (!bucket.vbucket(vbid)) return
  const request = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
  await bucket.compact(vbid, request).catch(() => undefined)
}

async function flush(): Promise<void> {
  for (const { id } of bucket.vbuckets()) begin(id)
  await bucket.flush()
}

async function repeat(pauseMs: number, work: () => Promise<void>): Promise<void> {
  for (;;) {
    await new Promise(resolve => setTimeout(resolve, random() * pauseMs))
    await work()
  }
}

say(
  'open',
  [...bucket.vbuckets()].map(({ id, state, highSeqno, failoverLog }) => [
    id,
    state,
    highSeqno,
    failoverLog.vbuuid.toString(16),
  ]),
)
// Nobody awaits these: the process does not end by itself.
void repeat(100, compact)
void repeat(400, fillAndDrop)
void repeat(200, toggle)
void repeat(6000, flush)
for (;;) {
  burst()
  await new Promise(resolve => setImmediate(resolve))
  if (bucket.pressure !== 'none') await new Promise<void>(done => bucket.afterDurable(() => done()))
}
