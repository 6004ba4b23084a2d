import { createHash } from 'node:crypto'
import t from 'tap'
import { BackupError } from '../../src/backup/errors.ts'
import { complete } from '../../src/backup/run/completion.ts'
import { MemoryStore } from './memory-store.ts'
import { altered, hurriedClock } from './s3-scene.ts'

const { signal } = new AbortController()

/** An upload with one part, in a store whose completions fail in the way of one that is busy. */
async function scene(beforeFailing: (store: MemoryStore) => Promise<void>) {
  const store = new MemoryStore()
  const upload = await store.createUpload('data/0000', 'token')
  const bytes = Buffer.from('all of it')
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  const part = await store.putPart(upload, 1, { chunks: [bytes], size: bytes.length, sha256 })
  let attempts = 0
  const busy = altered(store, {
    async completeUpload() {
      attempts++
      await beforeFailing(store)
      throw new BackupError('store', 'already in progress', { mayPass: true })
    },
  })
  return {
    store,
    upload,
    attempts: () => attempts,
    complete: () => complete({ store: busy, clock: hurriedClock, signal }, upload, [part]),
    part,
  }
}

t.test('an upload that the store has lost is not completed again and again', async t => {
  const { complete, attempts } = await scene(async store => {
    for await (const upload of store.listUploads('')) await store.abortUpload(upload)
  })
  t.equal(await complete(), 'gone')
  t.equal(attempts(), 1)
})

t.test(
  'one that is there is tried again, and in the end it is said why it did not work',
  async t => {
    const { complete, attempts } = await scene(async () => {})
    await t.rejects(complete(), { code: 'store', message: /already in progress/ })
    t.equal(attempts(), 5)
  },
)

t.test('an object that is there is believed, whatever was answered', async t => {
  const made = await scene(async store => store.completeUpload(made.upload, [made.part]))
  t.equal(await made.complete(), 'done')
  t.equal(made.attempts(), 1)
})
