import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { recordLength, RecordKind, RecordView, writeRecordHead } from '../../src/storage/record.ts'
import { RecordMemory } from '../../src/vbucket/record-memory.ts'
import { committed, openBuckets, read, remove, set } from '../support/bucket.ts'

const segmentBytes = 4096

/** A mutation as it lies on disk. */
function recordOf(vbid: number, key: string, seqno: number, value: string): RecordView {
  const length = recordLength(RecordKind.mutation, key.length, value.length, 0)
  const bytes = Buffer.alloc(length)
  const kind = RecordKind.mutation
  const head = {
    kind,
    vbid,
    datatype: 0,
    casHigh: 0,
    casLow: 1,
    seqno,
    revno: 1,
    flags: 0,
    time: 0,
  }
  writeRecordHead(bytes, 0, head, key.length, value.length)
  bytes.write(key + value, length - key.length - value.length)
  return new RecordView().at(bytes, 0)
}

function found(memory: RecordMemory, vbid: number, key: string): number | undefined {
  const view = new RecordView()
  const bytes = Buffer.from(key)
  return memory.find(vbid, bytes, 0, bytes.length, view) ? view.seqno : undefined
}

t.test('what is found is the newest version kept, and memory stays within its limit', async t => {
  const command = fc.record({
    kind: fc.constantFrom('keep', 'keep', 'keep', 'forget'),
    vbid: fc.nat(2),
    key: fc.nat(60),
    valueLength: fc.nat(120),
  })
  const property = fc.property(
    fc.array(command, { maxLength: 400, size: 'max' }),
    fc.integer({ min: 0, max: 8 }),
    (commands, segments) => {
      const cacheBytes = segments * segmentBytes
      const memory = new RecordMemory({ segmentBytes, cacheBytes })
      const newest = new Map<string, number>()
      let seqno = 0
      for (const { kind, vbid, key: number, valueLength } of commands) {
        const key = `key-${number}`
        if (kind === 'forget') {
          memory.forget(vbid)
          for (const name of newest.keys()) {
            if (name.startsWith(`${vbid}/`)) newest.delete(name)
          }
        } else {
          seqno++
          memory.keep(recordOf(vbid, key, seqno, 'v'.repeat(valueLength)))
          newest.set(`${vbid}/${key}`, seqno)
        }
        assert.ok(memory.cachedBytes <= cacheBytes)
        const seen = found(memory, vbid, key)
        // It may have been given up, but it is never an older one, nor one that is forgotten.
        if (seen !== undefined) assert.equal(seen, newest.get(`${vbid}/${key}`))
        if (kind === 'keep') assert.equal(seen !== undefined, segments > 0)
      }
    },
  )
  fc.assert(property, { numRuns: 200 })
  t.pass()
})

t.test('a document read from disk is in memory from then on, until it changes', async t => {
  const settings = { environments: 1, changeLogBytes: 0, documentCacheBytes: 2 ** 20 }
  const directory = t.testdir()
  const first = await openBuckets(t, directory, { settings })
  for (const key of ['one', 'two', 'three']) set(first.bucket, first.bucket.vbucket(1)!, key, key)
  await committed(first.bucket)
  await first.buckets.close()

  const { bucket } = await openBuckets(t, directory, { settings })
  const vbucket = bucket.vbucket(1)!
  t.equal(bucket.statistics().documentCacheBytes, 0, 'nothing warms up at a start')
  t.equal(read(bucket, vbucket, 'one'), 'one')
  t.ok(bucket.statistics().documentCacheBytes > 0)
  t.equal(read(bucket, vbucket, 'one'), 'one')

  set(bucket, vbucket, 'one', 'changed')
  t.equal(read(bucket, vbucket, 'one'), 'changed')
  await committed(bucket)
  t.equal(read(bucket, vbucket, 'one'), 'changed')
  t.equal(read(bucket, vbucket, 'two'), 'two')
  remove(bucket, vbucket, 'two')
  t.equal(read(bucket, vbucket, 'two'), undefined)
  await committed(bucket)
  await bucket.compact(1, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true })
  t.equal(read(bucket, vbucket, 'two'), undefined, 'a purged tombstone shows nothing older')
})

t.test('nothing of a vbucket that was deleted or flushed is found in memory', async t => {
  const settings = { environments: 1, changeLogBytes: 0, documentCacheBytes: 2 ** 20 }
  const { bucket } = await openBuckets(t, t.testdir(), { settings })
  set(bucket, bucket.vbucket(1)!, 'key', 'value')
  set(bucket, bucket.vbucket(2)!, 'key', 'value')
  await committed(bucket)
  t.equal(read(bucket, bucket.vbucket(1)!, 'key'), 'value')
  await bucket.flush()
  for (const vbid of [1, 2]) t.equal(read(bucket, bucket.vbucket(vbid)!, 'key'), undefined)
  set(bucket, bucket.vbucket(1)!, 'key', 'of its new life')
  t.equal(read(bucket, bucket.vbucket(1)!, 'key'), 'of its new life')
  await committed(bucket)
  t.equal(read(bucket, bucket.vbucket(1)!, 'key'), 'of its new life')
})
