import { randomUUID } from 'node:crypto'
import t from 'tap'
import type { Upload } from '../../src/backup/store/object-store.ts'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { content, storeSuite } from './store-suite.ts'

const gateway = await startRadosgw(t)
Object.assign(process.env, gateway.environment)
const open = (prefix: string) => new S3Store(gateway.bucket, prefix, { pathStyle: true })

// No percent sign: this gateway (16.2) ends when it is to copy from a key with one.
t.test('S3 is a store', t => storeSuite(t, () => open('suite/ä +')))

t.test('the root of a bucket is a place for an archive, too', async t => {
  const [root, other] = [open(''), open('other')]
  t.teardown(() => Promise.all([root.close(), other.close()]))
  await root.put('a', Buffer.from('1'))
  await other.put('a', Buffer.from('2'))
  t.equal((await root.get('a'))?.toString(), '1')
  t.equal((await root.get('other/a'))?.toString(), '2')
})

const mebibytes = (count: number, more = 0) => 'x'.repeat(count * 2 ** 20 + more)

t.test('a part of 5 MiB may be followed by another, one byte less may not', async t => {
  const store = open('parts')
  t.teardown(() => store.close())
  const twoParts = async (key: string, first: string) => {
    const upload = await store.createUpload(key, randomUUID())
    const parts = [
      await store.putPart(upload, 1, content(first)),
      await store.putPart(upload, 2, content('end')),
    ]
    return { upload, parts }
  }
  const enough = await twoParts('enough', mebibytes(5))
  await store.completeUpload(enough.upload, enough.parts)
  t.equal(await store.isCompleted(enough.upload, 5 * 2 ** 20 + 3), true)
  const less = await twoParts('less', mebibytes(5, -1))
  const refused = store.completeUpload(less.upload, less.parts)
  await t.rejects(refused, { code: 'store', message: /EntityTooSmall/ })
  t.equal(await store.isCompleted(less.upload, 5 * 2 ** 20 + 2), false)
  t.equal((await store.listParts(less.upload))?.length, 2)
  await store.abortUpload(less.upload)
})

t.test('of two uploads to a key, only the one that made the object is completed', async t => {
  const store = open('tokens')
  t.teardown(() => store.close())
  const made: Upload[] = []
  for (const text of ['one', 'two']) {
    const upload = await store.createUpload('same', randomUUID())
    await store.completeUpload(upload, [await store.putPart(upload, 1, content(text))])
    made.push(upload)
  }
  t.equal(await store.isCompleted(made[0]!, 3), false)
  t.equal(await store.isCompleted(made[1]!, 3), true)
})

t.test('what the store refuses is told', async t => {
  const missing = new S3Store('no-such-bucket', '', { pathStyle: true })
  t.teardown(() => missing.close())
  await t.rejects(missing.put('a', Buffer.from('1')), { code: 'store', message: /make it first/ })
  const old = process.env['AWS_SECRET_ACCESS_KEY']
  process.env['AWS_SECRET_ACCESS_KEY'] = 'another'
  const stranger = open('x')
  t.teardown(() => stranger.close())
  await t.rejects(stranger.put('a', Buffer.from('1')), { code: 'store', message: /secret key/ })
  process.env['AWS_SECRET_ACCESS_KEY'] = old
})

t.test('closing gives up what is on its way', async t => {
  const store = open('closing')
  const putting = store.put('a', Buffer.alloc(8 * 2 ** 20))
  await store.close()
  await t.rejects(putting, { code: 'store' })
})
