import { createHash, randomUUID } from 'node:crypto'
import type { Test } from 'tap'
import type { ObjectStore, Part, UploadReference } from '../../src/backup/store/object-store.ts'

export const content = (...texts: string[]) => {
  const chunks = texts.map(text => Buffer.from(text))
  const bytes = Buffer.concat(chunks)
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { chunks, size: bytes.length, sha256 }
}

export async function collect<T>(items: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = []
  for await (const item of items) all.push(item)
  return all
}

const text = async (store: ObjectStore, key: string) => (await store.get(key))?.toString()

/** Of a size that every part but the last may have. */
export const partText = (store: ObjectStore, letter: string) =>
  letter.repeat(Math.max(10, store.limits.partBytesMin))

/**
 * What every store has to do. `open` gives another view of the same store, as the next process
 * has it: nothing may depend on what one remembers.
 */
export async function storeSuite(t: Test, open: () => ObjectStore): Promise<void> {
  const views: ObjectStore[] = []
  const view = () => {
    const store = open()
    views.push(store)
    return store
  }
  t.teardown(() => Promise.all(views.map(store => store.close())))
  const store = view()
  const keysUnder = async (prefix: string) =>
    (await collect(view().list(prefix))).map(({ key }) => key)
  const uploadsUnder = async (prefix: string) =>
    (await collect(view().listUploads(prefix))).map(({ key }) => key)

  await t.test('objects are put, replaced, read and removed', async t => {
    t.equal(await store.get('a/one'), undefined)
    t.equal(await store.size('a/one'), undefined)
    await store.put('a/one', Buffer.from('first'))
    t.equal(await text(view(), 'a/one'), 'first')
    await store.put('a/one', Buffer.from('the second'))
    t.equal(await text(view(), 'a/one'), 'the second')
    t.equal(await view().size('a/one'), 10)
    t.equal(Buffer.concat(await collect(store.read('a/one'))).toString(), 'the second')
    const range = await collect(store.read('a/one', { start: 4, end: 7 }))
    t.equal(Buffer.concat(range).toString(), 'sec')
    await store.put('a/empty', Buffer.alloc(0))
    t.equal(await view().size('a/empty'), 0)
    t.same(Buffer.concat(await collect(store.read('a/empty'))), Buffer.alloc(0))
    await store.remove('a/one')
    await store.remove('a/one')
    await store.remove('a/empty')
    t.equal(await text(view(), 'a/one'), undefined)
    await t.rejects(collect(store.read('a/one')), { code: 'missing' })
  })

  await t.test('of many who put what is absent, one does', async t => {
    const attempts = Array.from({ length: 8 }, (_, index) =>
      view().putIfAbsent('lock', Buffer.from(`${index}`)),
    )
    const won = await Promise.all(attempts)
    t.equal(won.filter(Boolean).length, 1)
    t.equal(await text(store, 'lock'), String(won.indexOf(true)))
    t.equal(await store.putIfAbsent('lock', Buffer.from('late')), false)
    await store.remove('lock')
    t.equal(await store.putIfAbsent('lock', Buffer.from('again')), true)
    await store.remove('lock')
  })

  await t.test('a prefix lists what is below it, in order, and nothing else', async t => {
    const keys = ['l/b1/data/0001', 'l/b1/x', 'l/b10/x', 'l/b1.json', 'l/b1/data/0000', 'l/ä +%/é']
    for (const key of keys) await store.put(key, Buffer.from(key))
    t.same(await collect(view().list('l/b1/')), [
      { key: 'l/b1/data/0000', size: 14 },
      { key: 'l/b1/data/0001', size: 14 },
      { key: 'l/b1/x', size: 6 },
    ])
    t.same(await keysUnder('l/'), keys.slice().sort())
    t.same(await view().listFolders('l/'), ['b1', 'b10', 'ä +%'])
    t.same(await view().listFolders('l/b10/'), [])
    t.same(await keysUnder('none/'), [])
    t.same(await view().listFolders('none/'), [])
    for (const key of keys) t.equal(await text(view(), key), key)
    for (const key of keys) await store.remove(key)
    t.same(await keysUnder('l/'), [])
  })

  await t.test('an upload is put together from its parts, in one step', async t => {
    const key = 'up/ö +1'
    const upload = await store.createUpload(key, randomUUID())
    t.same(await view().listParts(upload), [])
    const [one, two] = [partText(store, 'a'), partText(store, 'b')]
    const parts = [
      await store.putPart(upload, 1, content(one.slice(0, 3), one.slice(3))),
      await view().putPart(upload, 2, content(two)),
      await store.putPart(upload, 3, content('end')),
    ]
    t.same(await view().listParts(upload), parts)
    t.equal(await text(store, key), undefined)
    t.same(await uploadsUnder('up/'), [key])
    t.same(await keysUnder('up/'), [])
    const size = one.length + two.length + 3
    t.equal(await view().isCompleted(upload, size), false)
    await view().completeUpload(upload, parts)
    t.equal(await text(view(), key), `${one}${two}end`)
    t.equal(await view().isCompleted(upload, size), true)
    t.equal(await view().isCompleted(upload, size + 1), false)
    t.same(await uploadsUnder('up/'), [])
    t.equal(await view().listParts(upload), undefined)
    await store.remove(key)
  })

  await t.test('a part that is put again replaces the old one', async t => {
    const upload = await store.createUpload('again', randomUUID())
    const one = partText(store, 'a')
    const first = await store.putPart(upload, 1, content(one))
    await store.putPart(upload, 2, content('not this'))
    const second = await view().putPart(upload, 2, content('but that'))
    t.same(await view().listParts(upload), [first, second])
    await store.completeUpload(upload, [first, second])
    t.equal(await text(view(), 'again'), `${one}but that`)
    await store.remove('again')
  })

  await t.test('parts that are not those of the upload make no object', async t => {
    const upload = await store.createUpload('wrong', randomUUID())
    const part = await store.putPart(upload, 1, content('a'))
    const wrong: Part[][] = [[{ ...part, etag: '0'.repeat(32) }], [part, { ...part, number: 2 }]]
    for (const parts of wrong) await t.rejects(view().completeUpload(upload, parts))
    t.equal(await text(view(), 'wrong'), undefined)
    await store.completeUpload(upload, [part])
    t.equal(await text(view(), 'wrong'), 'a')
    await store.remove('wrong')
  })

  await t.test('an object is replaced by a new upload that begins with it', async t => {
    const first = await store.createUpload('base', randomUUID())
    const body = partText(store, 'a')
    await store.completeUpload(first, [await store.putPart(first, 1, content(body))])
    const second = await store.createUpload('base', randomUUID())
    const copied = await store.copyPart(second, 1, 'base')
    const added = await view().putPart(second, 2, content('more'))
    t.equal(await text(view(), 'base'), body)
    t.equal(await view().isCompleted(second, body.length + 4), false)
    await view().completeUpload(second, [copied, added])
    t.equal(await text(view(), 'base'), `${body}more`)
    t.equal(await view().isCompleted(second, body.length + 4), true)
    await store.remove('base')
  })

  await t.test('a range of an object is copied as a part', async t => {
    const body = `${partText(store, 'a')}${partText(store, 'b')}`
    await store.put('source', Buffer.from(body))
    const upload = await store.createUpload('target', randomUUID())
    const half = body.length / 2
    const parts = [
      await store.copyPart(upload, 1, 'source', { start: half, end: body.length }),
      await store.copyPart(upload, 2, 'source', { start: 0, end: half }),
    ]
    await store.completeUpload(upload, parts)
    t.equal(await text(view(), 'target'), body.slice(half) + body.slice(0, half))
    await store.remove('source')
    await store.remove('target')
  })

  await t.test('what is dropped is gone, also twice', async t => {
    const upload = await store.createUpload('gone', randomUUID())
    const part = await store.putPart(upload, 1, content('a'))
    await view().abortUpload(upload)
    await view().abortUpload(upload)
    t.equal(await view().listParts(upload), undefined)
    await t.rejects(view().putPart(upload, 2, content('b')))
    await t.rejects(view().completeUpload(upload, [part]))
    t.equal(await text(view(), 'gone'), undefined)
    t.same(await uploadsUnder(''), [])
  })

  await t.test('more uploads than a page are all listed, and only those of the prefix', async t => {
    const others = await store.createUpload('many2/x', randomUUID())
    const uploads: UploadReference[] = []
    for (let from = 0; from < 1030; from += 103) {
      const keys = Array.from({ length: 103 }, (_, index) => `many/${from + index}`)
      uploads.push(...(await Promise.all(keys.map(key => store.createUpload(key, randomUUID())))))
    }
    const byKey = (one: UploadReference, other: UploadReference) => (one.key < other.key ? -1 : 1)
    const listed = await collect(view().listUploads('many/'))
    const expected = uploads.map(({ key, id }) => ({ key, id }))
    t.same(listed.sort(byKey), expected.sort(byKey))
    for (const upload of [...uploads, others]) await store.abortUpload(upload)
    t.same(await uploadsUnder(''), [])
  })
}
