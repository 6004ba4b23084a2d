import { strict as assert } from 'node:assert'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { Status } from '../../../protocol/status.ts'
import { VbucketState } from '../../../protocol/vbucket-state.ts'
import type { Bucket } from '../../../src/vbucket/bucket.ts'
import {
  committed,
  documentKey,
  openBuckets,
  read,
  remove,
  set,
  storing,
} from '../../support/bucket.ts'
import { checkStore } from '../../support/check-store.ts'
import { eventually } from '../../server/harness.ts'

function setIn(bucket: Bucket, id: number, key: string): void {
  const request = storing(key, `value of ${key}`)
  request.key = Buffer.concat([Buffer.of(id), Buffer.from(key)])
  request.keyLength = request.key.length
  t.equal(bucket.documents.store(bucket.vbucket(0)!, request), Status.success)
}

const isErased = (bucket: Bucket) => bucket.vbucket(0)!.collections.doomed.size === 0

t.test('collections, counts and what is dropped are the same after a restart', async t => {
  const directory = t.testdir()
  const first = await openBuckets(t, directory)
  const { collections } = first.bucket
  await collections.createScope('shop')
  await collections.createCollection('shop', 'orders', { maxTtlSeconds: 1000 })
  await collections.createCollection('_default', 'fruit')
  set(first.bucket, first.bucket.vbucket(0)!, 'plain', '1')
  for (const key of ['a', 'b', 'c']) setIn(first.bucket, 8, key)
  for (const key of ['d', 'e']) setIn(first.bucket, 9, key)
  await collections.dropCollection('_default', 'fruit')
  await eventually(() => isErased(first.bucket))
  await committed(first.bucket)
  await first.buckets.close()
  t.same(await checkStore(directory), [])
  const { bucket, buckets } = await openBuckets(t, directory)
  t.same(bucket.collections.manifest.toJSON(), collections.manifest.toJSON())
  const vbucket = bucket.vbucket(0)!
  t.same([vbucket.itemCount, vbucket.heldBy(0).items, vbucket.heldBy(8).items], [4, 1, 3])
  t.equal(vbucket.highSeqno, first.bucket.vbucket(0)!.highSeqno, 'nothing had to be made good')
  t.equal((await bucket.collections.createCollection('shop', 'fruit')).id, 10)
  await bucket.collections.dropCollection('_default', '_default')
  t.equal(vbucket.itemCount, 3)
  await eventually(() => isErased(bucket))
  await buckets.close()
  t.same(await checkStore(directory), [])
  const last = await openBuckets(t, directory)
  t.equal(last.bucket.collections.hasDefault, false)
  t.ok(isErased(last.bucket), 'it is not erased again')
})

t.test('events that a crash has kept from the vbuckets are made good at the start', async t => {
  const directory = t.testdir()
  const first = await openBuckets(t, directory)
  const { collections } = first.bucket
  await collections.createCollection('_default', 'fruit')
  setIn(first.bucket, 8, 'apple')
  set(first.bucket, first.bucket.vbucket(0)!, 'plain', '1')
  await first.buckets.close()
  // The manifest is on disk first: a crash right behind it leaves the vbuckets as they are.
  const path = join(directory, 'buckets', 'default', 'collections.json')
  const history = JSON.parse(readFileSync(path, 'utf8')) as Record<string, unknown>
  history['manifest'] = {
    uid: '9',
    scopes: [
      { name: '_default', uid: '0', collections: [{ name: '_default', uid: '0' }] },
      { name: 'shop', uid: '8', collections: [{ name: 'orders', uid: '9' }] },
    ],
  }
  writeFileSync(path, JSON.stringify(history))
  const { bucket, buckets } = await openBuckets(t, directory)
  const vbucket = bucket.vbucket(0)!
  t.equal(vbucket.highSeqno, 3 + 3, 'one dropped, a scope and a collection made')
  t.equal(vbucket.collections.manifestUid, 9n)
  t.same([vbucket.itemCount, vbucket.heldBy(9).items], [1, 0])
  t.equal(read(bucket, vbucket, 'plain'), '1')
  await eventually(() => isErased(bucket))
  await buckets.close()
  t.same(await checkStore(directory), [])
})

t.test('a bucket that is emptied, and a vbucket that comes, have the collections', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  await bucket.collections.createCollection('_default', 'fruit')
  setIn(bucket, 8, 'apple')
  await bucket.flush()
  t.same([...bucket.vbucket(0)!.collections.named.keys()], [8])
  t.equal(bucket.vbucket(0)!.itemCount, 0)
  await bucket.deleteVbucket(3)
  await bucket.setState(3, 1)
  t.same([...bucket.vbucket(3)!.collections.named.keys()], [8])
  t.equal(bucket.vbucket(3)!.highSeqno, 1)
})

t.test('names, and changes that cannot be, are refused', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const { collections } = bucket
  const refused = (promise: Promise<unknown>, status: Status) => assert.rejects(promise, { status })
  for (const name of ['', '_system', '%', 'a b', 'a.b', 'x'.repeat(252)]) {
    await refused(collections.createScope(name), Status.invalidArguments)
    await refused(collections.createCollection('_default', name), Status.invalidArguments)
  }
  await collections.createScope('shop')
  await refused(collections.createScope('shop'), Status.keyExists)
  await refused(collections.createCollection('none', 'a'), Status.unknownScope)
  await collections.createCollection('shop', 'a')
  await refused(collections.createCollection('shop', 'a'), Status.keyExists)
  await refused(collections.dropCollection('shop', 'b'), Status.unknownCollection)
  await refused(collections.dropScope('none'), Status.unknownScope)
  await refused(collections.dropScope('_default'), Status.invalidArguments)
  t.equal(collections.manifest.uid, 2n)
})

t.test('a vbucket that begins anew without the default collection can purge soon', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  await bucket.collections.createCollection('_default', 'fruit')
  await bucket.collections.dropCollection('_default', '_default')
  await eventually(() => isErased(bucket))
  await bucket.deleteVbucket(0)
  await bucket.setState(0, VbucketState.active)
  await eventually(() => isErased(bucket))
  await bucket.flush()
  await eventually(() => isErased(bucket))
})

t.test('a tombstone that a purge has left is counted off when its key comes back', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(0)!
  set(bucket, vbucket, 'k', 'v')
  remove(bucket, vbucket, 'k')
  await bucket.collections.createCollection('_default', 'fruit')
  setIn(bucket, 8, 'apple')
  const apple = storing('apple')
  apple.key[0] = 8
  t.equal(bucket.documents.remove(vbucket, apple), Status.success)
  setIn(bucket, 8, 'pear')
  await bucket.compact(0, { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true })
  t.same([vbucket.purgeSeqno, vbucket.tombstoneCount], [5, 1], 'it is where streams without end')
  set(bucket, vbucket, 'k', 'again')
  t.equal(vbucket.tombstoneCount, 0)
  t.equal(bucket.documents.getMeta(vbucket, documentKey('k'), 0, 2)!.revno, 3)
})
