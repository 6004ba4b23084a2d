/**
 * Uploads of just the least size that a store takes for a part which another one follows, and of one
 * byte less, at the 5 MiB of a real store: interrupted, resumed with more documents, restored, compared.
 */
import { randomBytes } from 'node:crypto'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { restore } from '../../src/backup/restore/restore.ts'
import { backUp, type BackupOptions } from '../../src/backup/run/backup.ts'
import type { BackupEvent } from '../../src/backup/run/context.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { verify, type VerifyEvent } from '../../src/backup/verify/verify.ts'
import { KvClient } from '../../src/client/index.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { altered } from './s3-scene.ts'
import { documentsOf } from './scene.ts'
import { collect } from './store-suite.ts'

const least = 5 * 2 ** 20
const documentBytes = 2 ** 20

const gateway = await startRadosgw(t)
Object.assign(process.env, gateway.environment)
const daemon = await startDaemon(t, { flags: ['--vbuckets', '2'] })
const { signal } = new AbortController()

/** With so many documents in vbucket 0, of which the last has so many bytes, and one in vbucket 1. */
async function makeBucket(name: string, documents: number, lastBytes: number) {
  const maker = await KvClient.connect({ port: daemon.port })
  await maker.createBucket(name)
  await maker.close()
  const client = await KvClient.connect({ port: daemon.port, bucket: name })
  const keyIn = (vbid: number, number: number) => {
    for (let attempt = 0; ; attempt++) {
      const key = `key-${number + 100}-${String(attempt).padStart(4, '0')}`
      if (client.vbucketOf(key) === vbid) return key
    }
  }
  for (let number = 1; number <= documents; number++)
    await client.set(keyIn(0, number), randomBytes(number < documents ? documentBytes : lastBytes))
  await client.set(keyIn(1, 0), 'in the other vbucket')
  const addOne = () => client.set(keyIn(0, documents + 1), 'one more')
  return { addOne, close: () => client.close() }
}

function backUpOf(bucket: string, store: ObjectStore, more: Partial<BackupOptions> = {}) {
  return backUp({
    store,
    repository: bucket,
    source: { host: '127.0.0.1', port: daemon.port, bucket },
    stagingRoot: join(t.testdirName, 'staging'),
    // As long as what is stored, so that a value's length decides about the upload's.
    compression: 'none',
    threads: 1,
    // An upload for each vbucket.
    packBelow: 0,
    signal,
    report: () => {},
    ...more,
  })
}

/** Remembers the sizes of the parts of vbucket 0; `before` is called with the key of each part's object. */
function noting(store: ObjectStore, sizes: number[], before: (key: string) => void = () => {}) {
  return altered(store, {
    async putPart(upload, number, content) {
      before(upload.key)
      if (upload.key.endsWith('data/0000')) sizes.push(content.size)
      return await store.putPart(upload, number, content)
    },
  })
}

/** A bucket of which the last part of vbucket 0 will have just so many bytes. */
async function bucketOf(t: Test, name: string, documents: number, lastPartBytes: number) {
  const trial = await makeBucket(`${name}-trial`, documents, documentBytes)
  const sizes: number[] = []
  const folder = new FileStore(join(t.testdir(), 'trial'))
  await backUpOf(`${name}-trial`, noting(folder, sizes))
  await trial.close()
  const bucket = await makeBucket(name, documents, documentBytes + lastPartBytes - sizes.at(-1)!)
  t.teardown(() => bucket.close())
  const store = new S3Store(gateway.bucket, name, { pathStyle: true })
  t.teardown(() => store.close())
  return { ...bucket, store }
}

const stopped = new Error('stopped')

/** Ends when vbucket 0 has all of its parts, and vbucket 1 is to get its first; answers with their sizes. */
async function interrupt(t: Test, bucket: string, store: ObjectStore): Promise<number[]> {
  const stop = new AbortController()
  const sizes: number[] = []
  const stopping = noting(store, sizes, key => {
    if (!key.endsWith('data/0001')) return
    stop.abort(stopped)
    throw stopped
  })
  await t.rejects(backUpOf(bucket, stopping, { signal: stop.signal }), stopped)
  return sizes
}

/** What was made of each vbucket. */
async function resume(bucket: string, store: ObjectStore) {
  const actions: (readonly [number, string])[] = []
  const report = (event: BackupEvent) => {
    if (event.type === 'vbucket') actions.push([event.vbid, event.action])
  }
  await backUpOf(bucket, store, { unfinished: 'resume', report })
  return actions.sort(([one], [other]) => one - other)
}

const withoutSeqnos = async (bucket: string) =>
  new Map(
    [...(await documentsOf(daemon.port, bucket))].map(([key, document]) => [
      key,
      { ...document, seqno: 0 },
    ]),
  )

/** One whole backup, nothing beside it, and restored it is the bucket. */
async function expectWhole(t: Test, bucket: string, store: ObjectStore): Promise<void> {
  const report = (event: VerifyEvent) => t.equal(event.type, 'progress')
  const checked = await verify({ store, repository: bucket, samplePercent: 100, signal, report })
  t.match(checked, { backups: 1, objects: 2, objectsRead: 2, damages: 0 })
  t.same(await collect(store.listUploads('')), [])
  const maker = await KvClient.connect({ port: daemon.port })
  await maker.createBucket(`${bucket}-restored`)
  await maker.close()
  await restore({
    store,
    repository: bucket,
    stagingRoot: join(t.testdirName, 'restoring'),
    target: { host: '127.0.0.1', port: daemon.port, bucket: `${bucket}-restored` },
    signal,
    report: () => {},
  })
  t.same(await withoutSeqnos(`${bucket}-restored`), await withoutSeqnos(bucket))
}

t.test('an upload of just as many bytes is gone on with, one of fewer begun again', async t => {
  for (const [bytes, action] of [
    [least, 'go-on'],
    [least - 1, 'restart'],
  ] as const) {
    const name = `only-${action}`
    const { store, addOne } = await bucketOf(t, name, 5, bytes)
    t.same(await interrupt(t, name, store), [bytes])
    await addOne()
    t.same(await resume(name, store), [[0, action]])
    await expectWhole(t, name, store)
  }
})

t.test('so is a last part; of fewer bytes, behind a full one, it is a new upload', async t => {
  for (const [bytes, action] of [
    [least, 'go-on'],
    [least - 1, 'rebase'],
  ] as const) {
    const name = `last-${action}`
    const { store, addOne } = await bucketOf(t, name, 13, bytes)
    const [first, ...others] = await interrupt(t, name, store)
    t.ok(first! > 8 * documentBytes)
    t.same(others, [bytes])
    await addOne()
    t.same(await resume(name, store), [[0, action]])
    await expectWhole(t, name, store)
  }
})

t.test('an object of just as many bytes is the first part of the next upload', async t => {
  for (const [bytes, action] of [
    [least, 'rebase'],
    [least - 1, 'restart'],
  ] as const) {
    const name = `object-${action}`
    const { store, addOne } = await bucketOf(t, name, 5, bytes)
    const stop = new AbortController()
    let completed = () => {}
    const isCompleted = new Promise<void>(resolve => (completed = resolve))
    // The store loses the other upload while it is to be completed: its vbucket is streamed again.
    const losing = altered(store, {
      async completeUpload(upload, parts) {
        if (upload.key.endsWith('data/0000')) {
          await store.completeUpload(upload, parts)
          return completed()
        }
        await isCompleted
        await store.abortUpload(upload)
        stop.abort(stopped)
        throw stopped
      },
    })
    await t.rejects(backUpOf(name, losing, { signal: stop.signal }), stopped)
    t.equal(await sizeOfFirst(name, store), bytes)
    await addOne()
    t.same(await resume(name, store), [
      [0, action],
      [1, 'restart'],
    ])
    await expectWhole(t, name, store)
  }
})

async function sizeOfFirst(bucket: string, store: ObjectStore): Promise<number | undefined> {
  const objects = await collect(store.list(`${bucket}/`))
  return objects.find(({ key }) => key.endsWith('data/0000'))?.size
}
