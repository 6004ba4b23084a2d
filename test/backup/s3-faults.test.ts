import { randomUUID } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { dataKey } from '../../src/backup/archive/layout.ts'
import { breakLock } from '../../src/backup/lock.ts'
import { Repository } from '../../src/backup/repository.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { startRadosgw } from '../support/radosgw.ts'
import {
  S3FaultProxy,
  type S3Fault,
  type S3FaultPlan,
  type S3Operation,
} from '../support/s3-fault-proxy.ts'
import {
  smallPartBytes,
  SmallBucket,
  SmallPartsStore,
  stagingOf,
  vbucketCount,
} from './s3-scene.ts'

const gateway = await startRadosgw(t, { partBytesMin: smallPartBytes })
Object.assign(process.env, gateway.environment)
delete process.env['AWS_ENDPOINT_URL_S3']
const daemon = await startDaemon(t, { flags: ['--vbuckets', String(vbucketCount)] })

const direct = new SmallPartsStore(gateway.bucket, 'faults', { endpoint: gateway.endpoint })
t.teardown(() => direct.close())

async function through(t: Test, plan: S3FaultPlan, seed = 1) {
  const proxy = await S3FaultProxy.start(gateway.endpoint, plan, seed)
  const store = new SmallPartsStore(gateway.bucket, 'faults', { endpoint: proxy.endpoint })
  t.teardown(async () => {
    await store.close()
    await proxy.close()
  })
  return { proxy, store }
}

/**
 * An unfinished backup whose resume needs every operation there is: uploads to be completed and begun
 * again with what they have, one to be gone on with, one that nobody knows.
 */
async function unfinished(t: Test, repository: string) {
  const bucket = await SmallBucket.make(daemon.port, repository)
  t.teardown(() => bucket.close())
  const place = { repository, staging: stagingOf(t, repository) }
  await bucket.interrupt(direct, place)
  // A run that is stopped while the machine is busy keeps it for as long as its process lives.
  await breakLock(direct, repository)
  await bucket.change()
  const [backup] = await (await Repository.open(direct, repository)).backups()
  await direct.createUpload(`${repository}/${backup!.id}/${dataKey(9)}`, randomUUID())
  return { bucket, place }
}

const refused = (status: number, code: string): S3Fault => ({ kind: 'refuse', status, code })

const everything: readonly S3Operation[] = [
  ...(['create', 'part', 'copy', 'complete', 'abort', 'put', 'get', 'head', 'remove'] as const),
  ...(['list', 'list-parts', 'list-uploads'] as const),
]
/** Those whose answer has something that the tool needs, or whose error is known to come with 200. */
const telling: readonly S3Operation[] = ['create', 'part', 'copy', 'complete']

const withBody: readonly S3Operation[] = [
  ...(['create', 'copy', 'complete', 'get', 'list', 'list-parts', 'list-uploads'] as const),
]

const faults: readonly (readonly [string, S3Fault, readonly S3Operation[]])[] = [
  ['500', refused(500, 'InternalError'), everything],
  ['503', refused(503, 'SlowDown'), everything],
  ['lost answers', { kind: 'lose-answer' }, everything],
  ['answers cut off', { kind: 'cut-answer' }, withBody],
  ['requests cut off', { kind: 'cut' }, everything],
  ['200 with an error, and done', { kind: 'error-in-200', done: true }, telling],
  ['200 with an error, not done', { kind: 'error-in-200', done: false }, telling],
  ['200 with nothing', { kind: 'empty-200' }, telling],
  ['expired credentials', refused(400, 'ExpiredToken'), everything],
]

const anyFault = (random: () => number): S3Fault => {
  const kinds: S3Fault[] = [
    refused(500, 'InternalError'),
    refused(503, 'SlowDown'),
    { kind: 'lose-answer' },
    { kind: 'cut' },
    { kind: 'cut-answer' },
    { kind: 'delay', ms: Math.floor(random() * 30) },
  ]
  return kinds[Math.floor(random() * kinds.length)]!
}

t.test('faults on the way to the store cost time only', async t => {
  // Which mostly is spent in pauses.
  t.jobs = 4
  for (const [index, [name, fault, operations]] of faults.entries())
    void t.test(`twice at each operation: ${name}`, { buffered: true }, async t => {
      const repository = `fault-${index}`
      const { bucket, place } = await unfinished(t, repository)
      const { proxy, store } = await through(t, ({ operation, before }) =>
        operations.includes(operation) && before < 2 ? fault : undefined,
      )
      await bucket.backUp(store, { ...place, unfinished: 'resume' })
      t.same(
        operations.filter(operation => (proxy.requests.get(operation) ?? 0) < 3),
        [],
        'every operation was needed',
      )
      t.equal(proxy.faults, operations.length * 2)
      await bucket.expectWhole(t, direct, repository)
    })

  for (const seed of [1, 2, 3])
    void t.test(
      `every third request meets some fault, seed ${seed}`,
      { buffered: true },
      async t => {
        const { bucket, place } = await unfinished(t, `storm-${seed}`)
        const stormy: S3FaultPlan = (_request, random) =>
          random() < 0.33 ? anyFault(random) : undefined
        const { proxy, store } = await through(t, stormy, seed)
        await bucket.backUp(store, { ...place, unfinished: 'resume' })
        t.ok(proxy.faults > 10, `${proxy.faults} faults`)
        await bucket.expectWhole(t, direct, place.repository)
      },
    )
})

t.test('that an upload is completed is believed to nobody but the object', async t => {
  process.env['AWS_MAX_ATTEMPTS'] = '2'
  t.teardown(() => delete process.env['AWS_MAX_ATTEMPTS'])
  const { bucket, place } = await unfinished(t, 'liar')
  const { proxy, store } = await through(t, ({ operation }) =>
    operation === 'complete' ? { kind: 'empty-200' } : undefined,
  )
  const lying = await through(t, ({ operation }) =>
    operation === 'complete' ? { kind: 'lie' } : undefined,
  )
  for (const one of [store, lying.store])
    await t.rejects(bucket.backUp(one, { ...place, unfinished: 'resume' }), { code: 'store' })
  const [listed] = await (await Repository.open(direct, 'liar')).backups()
  t.equal(listed?.document, undefined)
  t.ok((proxy.requests.get('complete') ?? 0) < 60, 'it ends')
  await bucket.backUp(direct, { ...place, unfinished: 'resume' })
  await bucket.expectWhole(t, direct, 'liar')
})

t.test('a store that is busy for long ends a backup, which can be resumed', async t => {
  process.env['AWS_MAX_ATTEMPTS'] = '4'
  t.teardown(() => delete process.env['AWS_MAX_ATTEMPTS'])
  const { bucket, place } = await unfinished(t, 'busy')
  const { proxy, store } = await through(t, ({ operation }) =>
    operation === 'part' ? refused(503, 'SlowDown') : undefined,
  )
  const outcome = bucket.backUp(store, { ...place, unfinished: 'resume' })
  await t.rejects(outcome, { code: 'store', message: /503/ })
  // Four attempts for each of the vbuckets that are worked on at a time.
  t.ok((proxy.requests.get('part') ?? 0) <= 16, `${proxy.requests.get('part')} attempts`)
  await bucket.backUp(direct, { ...place, unfinished: 'resume' })
  await bucket.expectWhole(t, direct, 'busy')
})

t.test('credentials that have expired are read again from where they come', async t => {
  const file = join(t.testdir(), 'credentials')
  const write = (name: string, key: string, secret: string) =>
    writeFileSync(file, `[${name}]\naws_access_key_id=${key}\naws_secret_access_key=${secret}\n`)
  const { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret } = gateway.environment
  write('default', 'old', 'old')
  delete process.env['AWS_ACCESS_KEY_ID']
  delete process.env['AWS_SECRET_ACCESS_KEY']
  process.env['AWS_SHARED_CREDENTIALS_FILE'] = file
  t.teardown(() =>
    Object.assign(process.env, { AWS_ACCESS_KEY_ID: key, AWS_SECRET_ACCESS_KEY: secret }),
  )
  const { store } = await through(t, ({ accessKey }) =>
    accessKey === 'old' ? refused(400, 'ExpiredToken') : undefined,
  )
  await t.rejects(store.put('x', Buffer.from('1')), { code: 'store', message: /have expired/ })
  const putting = store.put('x', Buffer.from('2'))
  write('default', key!, secret!)
  await putting
  t.equal((await store.get('x'))?.toString(), '2')
})
