import { strict as assert } from 'node:assert'
import { cpSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import fc from 'fast-check'
import t, { type Test } from 'tap'

import { encodeBlockHead, readBlocks } from '../../src/storage/journal-format.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { openBuckets, read, remove, set } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'

/** So long that within a test nothing gets to LMDB by itself. */
const settings = { environments: 2, commitIntervalSeconds: 60 }

function durable(bucket: Bucket): Promise<void> {
  return new Promise(done => bucket.afterDurable(done))
}

/** A bucket whose journal takes what is written from now on; the key `first` is in LMDB. */
async function journalled(t: Test, directory: string): Promise<Bucket> {
  const { bucket } = await openBuckets(t, directory, { settings })
  const file = join(directory, 'buckets', 'default', 'journal-1')
  const size = () => statSync(file, { throwIfNoEntry: false })?.size ?? 0
  for (let turn = 0; size() < 16 * 2 ** 20; turn++) {
    if (turn === 0) set(bucket, bucket.vbucket(1)!, 'first', 'in LMDB')
    await durable(bucket)
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await bucket.whenPersisted(1, 1)
  // Nobody hurries the flusher any more.
  await new Promise(resolve => setTimeout(resolve, 20))
  return bucket
}

/** What a crash would leave now, opened. */
async function afterCrash(t: Test, directory: string, harm = (_journal: string) => {}) {
  const copy = `${directory}-copy`
  cpSync(directory, copy, { recursive: true, filter: path => !path.endsWith('LOCK') })
  harm(join(copy, 'buckets', 'default', 'journal-0'))
  const { bucket, buckets } = await openBuckets(t, copy, { settings })
  return { bucket, buckets, copy }
}

t.test('what is durable before LMDB has it survives a crash, in its history', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  set(bucket, vbucket, 'second', 'in the journal')
  set(bucket, bucket.vbucket(2)!, 'other', 'elsewhere')
  await durable(bucket)
  remove(bucket, vbucket, 'first')
  await durable(bucket)
  t.equal(vbucket.persistedSeqno, 1, 'LMDB does not have it')

  const crashed = await afterCrash(t, live)
  const found = crashed.bucket.vbucket(1)!
  t.equal(found.highSeqno, 3)
  t.equal(found.persistedSeqno, 3)
  t.equal(read(crashed.bucket, found, 'second'), 'in the journal')
  t.equal(read(crashed.bucket, found, 'first'), undefined)
  t.equal(read(crashed.bucket, crashed.bucket.vbucket(2)!, 'other'), 'elsewhere')
  const [newest, before] = found.failoverLog.entries
  t.equal(newest!.seqno, 3, 'a new history begins behind it')
  t.equal(before!.vbuuid, vbucket.failoverLog.vbuuid)
  await crashed.buckets.close()
  t.same(await checkStore(crashed.copy), [])
})

t.test('a block that is not whole ends what the journal brings', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  const vbucket = bucket.vbucket(1)!
  for (const key of ['a', 'b', 'c']) {
    set(bucket, vbucket, key, key.repeat(100))
    await durable(bucket)
  }
  const { bucket: crashed } = await afterCrash(t, live, journal => {
    const bytes = readFileSync(journal)
    bytes[bytes.indexOf('b'.repeat(100)) + 50]! ^= 1
    writeFileSync(journal, bytes)
  })
  t.equal(read(crashed, crashed.vbucket(1)!, 'a'), 'a'.repeat(100))
  t.equal(read(crashed, crashed.vbucket(1)!, 'b'), undefined)
  t.equal(read(crashed, crashed.vbucket(1)!, 'c'), undefined, 'nothing behind a gap')
})

t.test('what a vbucket had in an earlier life does not come back', async t => {
  const directory = t.testdir({ live: {} })
  const live = join(directory, 'live')
  const bucket = await journalled(t, live)
  set(bucket, bucket.vbucket(1)!, 'old', 'of the life before')
  await durable(bucket)
  await bucket.flush()
  const { bucket: crashed } = await afterCrash(t, live)
  t.equal(crashed.vbucket(1)!.highSeqno, 0)
  t.equal(read(crashed, crashed.vbucket(1)!, 'old'), undefined)
})

t.test('a clean stop leaves nothing in the journal', async t => {
  const directory = t.testdir()
  const bucket = await journalled(t, directory)
  set(bucket, bucket.vbucket(1)!, 'second', 'x')
  await durable(bucket)
  await bucket.close()
  for (const name of ['journal-0', 'journal-1']) {
    t.equal(statSync(join(directory, 'buckets', 'default', name)).size, 0)
  }
})

t.test('of a file that was cut anywhere, the whole blocks are read', async t => {
  const block = fc.record({
    vbuuids: fc.array(fc.tuple(fc.nat(1023), fc.bigInt(0n, 2n ** 64n - 1n)), { maxLength: 5 }),
    entries: fc.array(fc.uint8Array({ maxLength: 50 }), { maxLength: 3 }),
  })
  const property = fc.property(fc.array(block, { maxLength: 6 }), fc.nat(100), (blocks, share) => {
    const pieces = blocks.map(({ vbuuids, entries }, index) => {
      const head = { epoch: 7n, sequence: index + 1, vbuuids: new Map(vbuuids) }
      return Buffer.concat([encodeBlockHead(head, entries), ...entries])
    })
    const whole = Buffer.concat([...pieces, Buffer.alloc(64)])
    assert.equal([...readBlocks(whole)].length, blocks.length)
    const cut = Math.floor((Buffer.concat(pieces).length * share) / 100)
    const read = [...readBlocks(whole.subarray(0, cut))]
    let end = 0
    const expected = pieces.filter(piece => (end += piece.length) <= cut)
    assert.equal(read.length, expected.length)
    for (const [index, { entries, vbuuids }] of read.entries()) {
      assert.deepEqual(entries, Buffer.concat(blocks[index]!.entries))
      assert.deepEqual(vbuuids, new Map(blocks[index]!.vbuuids))
    }
  })
  fc.assert(property)
  t.pass()
})
