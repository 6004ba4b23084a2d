import { strict as assert } from 'node:assert'
import { rmSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'
import { seedOf } from '../resume/seed.ts'
import { documentKey, openBuckets } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { seededRandom } from '../support/faulty-proxy.ts'
import { runAndKill } from './run-and-kill.ts'
import { crashSettings, droppedVbid } from './settings.ts'

const kills = 16
// For slow machines.
t.setTimeout(120_000)
// A loaded machine takes its time to start them.
t.setTimeout(180_000)

/** What the killed process has said to be on disk. */
class Reported {
  readonly #lives = new Map<number, number>()
  /** By vbucket and key. */
  readonly #writes = new Map<number, Map<string, { seqno: number; value: string | null }>>()
  readonly #vbuuids = new Map<number, string>()
  opened = false
  writes = 0

  take(line: string): void {
    const [kind, ...fields] = JSON.parse(line) as [string, ...unknown[]]
    if (kind === 'open') this.#open(fields[0] as [number, number, number, string][])
    else if (kind === 'life') this.#begin(fields as [number, number])
    else if (kind === 'write')
      this.#write(fields as [number, number, number, string, string | null])
    else if (kind === 'state') this.#vbuuids.set(fields[0] as number, fields[2] as string)
  }

  vbuuidOf(vbid: number): string | undefined {
    return this.#vbuuids.get(vbid)
  }

  *writesOf(vbid: number) {
    for (const [key, write] of this.#writes.get(vbid) ?? []) yield { key, ...write }
  }

  highestOf(vbid: number): number {
    return Math.max(0, ...[...this.writesOf(vbid)].map(({ seqno }) => seqno))
  }

  #open(vbuckets: [number, number, number, string][]): void {
    this.opened = true
    // Lives are counted from 0 by every process.
    this.#lives.clear()
    for (const [vbid, , highSeqno, vbuuid] of vbuckets) {
      assert.ok(highSeqno >= this.highestOf(vbid), `vbucket ${vbid} has lost what was reported`)
      this.#vbuuids.set(vbid, vbuuid)
    }
  }

  #begin([vbid, life]: [number, number]): void {
    this.#lives.set(vbid, life)
    this.#writes.delete(vbid)
    this.#vbuuids.delete(vbid)
  }

  #write([vbid, life, seqno, key, value]: [number, number, number, string, string | null]): void {
    if ((this.#lives.get(vbid) ?? 0) !== life) return
    let writes = this.#writes.get(vbid)
    if (!writes) this.#writes.set(vbid, (writes = new Map()))
    const before = writes.get(key)?.seqno ?? 0
    assert.ok(seqno > before)
    writes.set(key, { seqno, value })
    this.writes++
  }
}

function checkHistory(vbucket: Vbucket, reported: Reported): void {
  const { id, highSeqno, failoverLog, state } = vbucket
  const [newest] = failoverLog.entries
  const before = reported.vbuuidOf(id)
  const text = `vbucket ${id}, high ${highSeqno}, ${JSON.stringify(failoverLog.toJSON())}`
  if (state === VbucketState.active) {
    assert.equal(newest!.seqno, highSeqno, `a new history at what is on disk: ${text}`)
    assert.notEqual(newest!.vbuuid.toString(16), before, text)
  }
  if (before === undefined || id === droppedVbid) return
  const older = failoverLog.entries.map(({ vbuuid }) => vbuuid.toString(16))
  assert.ok(older.includes(before), `the history goes on from ${before}: ${text}`)
}

t.test(`what was on disk is there after each of ${kills} kills`, async t => {
  const directory = t.testdir()
  const seed = seedOf(t)
  const random = seededRandom(seed)
  const reported = new Reported()
  let verified = 0
  for (let kill = 1; kill <= kills; kill++) {
    // Every third one is killed early, perhaps while it opens, and not looked at: the next finds
    // the store as it is.
    const isEarly = kill % 3 === 0
    const aliveMs = isEarly ? 150 + random() * 400 : 200 + random() * 800
    const life = { aliveMs, begins: (lines: readonly string[]) => isEarly || lines.length > 0 }
    reported.opened = false
    const report = join(directory, 'report')
    const more = [`${seed * 100 + kill}`]
    const program = { file: 'writer.js', directory: join(directory, 'data'), report, more }
    const { lines } = await runAndKill(program, life)
    for (const line of lines) reported.take(line)
    rmSync(report, { force: true })
    if (isEarly) continue
    const { buckets, bucket } = await openBuckets(t, join(directory, 'data'), {
      settings: crashSettings,
    })
    for (const vbucket of bucket.vbuckets()) {
      const { highSeqno, persistedSeqno, purgeSeqno } = vbucket
      assert.equal(persistedSeqno, highSeqno)
      assert.ok(purgeSeqno <= highSeqno)
      if (reported.opened) checkHistory(vbucket, reported)
    }
    for (let vbid = 0; vbid < crashSettings.vbuckets; vbid++) {
      for (const { key, seqno, value } of reported.writesOf(vbid)) {
        const vbucket = bucket.vbucket(vbid)
        assert.ok(vbucket, `vbucket ${vbid} is there`)
        const bytes = documentKey(key)
        const found = bucket.documents.getMeta(vbucket, bytes, 0, bytes.length)
        const name = `vbucket ${vbid}, seqno ${seqno} of ${key}`
        if (found === undefined) {
          // Deleted, by this change or a later one, and purged.
          const deletedFrom = value === null ? seqno : seqno + 1
          assert.ok(deletedFrom <= vbucket.purgeSeqno, `${name} is lost`)
        } else {
          assert.ok(found.seqno >= seqno, `${name} is there as ${found.seqno}`)
          if (found.seqno === seqno) {
            assert.equal(found.isDeletion ? null : found.value().toString(), value, name)
          } else if (!found.isDeletion && vbid !== droppedVbid) {
            assert.ok(found.value().toString().startsWith(`${key}=`), name)
          }
        }
      }
    }
    await buckets.close()
    assert.deepEqual(await checkStore(join(directory, 'data')), [])
    verified++
  }
  t.comment(`${reported.writes} writes reported, ${verified} times looked at`)
  t.ok(reported.writes > 1000)
  t.ok(verified >= 10)
})
