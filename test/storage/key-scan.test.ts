/** The keys of a vbucket in order, whatever else it holds and however many passes it takes. */
import assert from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { decodeScannedDocuments, decodeScannedKeys } from '../../protocol/commands/index.ts'
import type { KeyScanRequest } from '../../src/storage/key-scan.ts'
import { inDefaultCollection } from '../../src/storage/record-key.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { committed, openBuckets, remove, set } from '../support/bucket.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const everything = { start: '', includesStart: true, end: 'ÿ'.repeat(300), includesEnd: true }
/** Keys as a client without collections has them. */
const keysOnly = { keyOnly: true, includeXattrs: false, keepSnappy: false, prefixLength: 1 }

/** All that a scan brings, and in how many reads. */
async function scanned(
  bucket: Bucket,
  vbid: number,
  asked: Partial<KeyScanRequest>,
  limits = { itemsMax: 7, bytesMax: 1000 },
): Promise<{ parts: Buffer[]; reads: number }> {
  // As a range scan does: all that is on disk, and not what an idle pin of a moment ago shows.
  const atLeastSeqno = bucket.vbucket(vbid)!.persistedSeqno
  const request = { holder: 'test', reason: 'test', atLeastSeqno }
  const reference = await bucket.snapshots.pin(vbid, request)
  const keys = await bucket.snapshots.openKeys(
    reference,
    {
      vbid,
      range: everything,
      sampling: undefined,
      highSeqno: reference.persistedSeqno,
      nowSeconds: 0,
      gatheredMax: 10,
      form: keysOnly,
      ...asked,
    },
    undefined,
  )
  const parts: Buffer[] = []
  for (let reads = 1; ; reads++) {
    const { bytes, items, state } = await keys!.read(limits)
    assert.ok(items <= limits.itemsMax)
    if (bytes.length > 0) parts.push(Buffer.from(bytes))
    if (state !== 'end') continue
    keys!.close()
    return { parts, reads }
  }
}

async function keysOf(bucket: Bucket, vbid: number, asked: Partial<KeyScanRequest> = {}) {
  const { parts } = await scanned(bucket, vbid, asked)
  return parts.flatMap(part => decodeScannedKeys(part)!.map(key => key.toString('latin1')))
}

t.test('every live key of a range, in the order of its bytes, each once', async t => {
  t.comment(`SEED=${seed}`)
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(3)!
  const alphabet = fc.constantFrom('a', 'b', 'B', '0', '-', '~')
  const key = fc.string({ unit: alphabet, minLength: 1, maxLength: 4 })
  const step = fc.record({ key, isRemoved: fc.boolean() })
  const bound = fc.string({ unit: alphabet, maxLength: 3 })
  const lives = new Set<string>()
  const property = fc.asyncProperty(
    fc.array(step, { maxLength: 60 }),
    fc.record({ start: bound, includesStart: fc.boolean(), end: bound, includesEnd: fc.boolean() }),
    fc.integer({ min: 1, max: 12 }),
    async (steps, range, gatheredMax) => {
      for (const { key, isRemoved } of steps) {
        if (!isRemoved) set(bucket, vbucket, key, `value of ${key}`)
        else if (lives.has(key)) remove(bucket, vbucket, key)
        if (isRemoved) lives.delete(key)
        else lives.add(key)
      }
      set(bucket, bucket.vbucket(4)!, 'aa', 'of another vbucket')
      await committed(bucket)
      const expected = [...lives].sort().filter(key => {
        if (key < range.start || key > range.end) return false
        if (key === range.start && !range.includesStart) return false
        return key !== range.end || range.includesEnd
      })
      const prefixed = { ...range, start: `\0${range.start}`, end: `\0${range.end}` }
      assert.deepEqual(await keysOf(bucket, 3, { range: prefixed, gatheredMax }), expected)
    },
  )
  await fc.assert(property, { numRuns: 40, seed })
})

t.test('documents come whole, with what is known of them', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 30; i++) set(bucket, vbucket, `key-${i}`, `value ${i} `.repeat(i * 20))
  await committed(bucket)
  const form = { ...keysOnly, keyOnly: false, prefixLength: 5 }
  const { parts } = await scanned(bucket, 1, { form })
  const documents = parts.flatMap(part => decodeScannedDocuments(part)!)
  t.equal(documents.length, 30)
  for (const { key, value, seqno, cas } of documents) {
    const i = Number(key.toString())
    assert.equal(value.toString(), `value ${i} `.repeat(i * 20))
    assert.equal(seqno, i + 1)
    const bytes = inDefaultCollection(Buffer.from(`key-${i}`))
    assert.equal(bucket.documents.get(vbucket, bytes, 0, bytes.length)!.cas, cas)
  }
  const { reads } = await scanned(bucket, 1, { form }, { itemsMax: 1000, bytesMax: 1 })
  t.ok(reads >= 30, 'one at least, however little is asked for, and no more')
})

t.test('a scan goes on in its snapshot', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  for (let i = 10; i < 60; i++) set(bucket, vbucket, `k${i}`, 'before')
  await committed(bucket)
  const request = { holder: 'test', reason: 'test', atLeastSeqno: 0 }
  const reference = await bucket.snapshots.pin(1, request)
  const keys = await bucket.snapshots.openKeys(
    reference,
    {
      vbid: 1,
      range: everything,
      sampling: undefined,
      highSeqno: reference.persistedSeqno,
      nowSeconds: 0,
      gatheredMax: 10,
      form: { ...keysOnly, keyOnly: false },
    },
    undefined,
  )
  const values = new Set<string>()
  let count = 0
  for (let state = ''; state !== 'end';) {
    const read = await keys!.read({ itemsMax: 3, bytesMax: 1000 })
    state = read.state
    for (const { value } of decodeScannedDocuments(read.bytes)!) values.add(value.toString())
    count += read.items
    for (let i = 10; i < 60; i += 3) set(bucket, vbucket, `k${i}`, 'after')
    remove(bucket, vbucket, 'k59')
    set(bucket, vbucket, 'k59', 'after')
    await committed(bucket)
  }
  keys!.close()
  t.equal(count, 50)
  t.same([...values], ['before'])
})

t.test('a sample has about as many keys as were asked for, the same for the same seed', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  for (let i = 0; i < 1000; i++) set(bucket, vbucket, `key-${i}`, 'v')
  await committed(bucket)
  const sample = (samples: number, of: number) =>
    keysOf(bucket, 1, { sampling: { samples, seed: of }, gatheredMax: 37 })
  const one = await sample(200, 1)
  t.ok(one.length > 130 && one.length < 270, `${one.length} keys`)
  t.same(await sample(200, 1), one)
  t.notSame(await sample(200, 2), one)
  t.equal((await sample(1000, 1)).length, 1000)
  t.equal((await sample(5000, 1)).length, 1000)
})
