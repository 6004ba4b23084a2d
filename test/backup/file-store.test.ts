import { appendFileSync, existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { cachedBytes } from '../support/cached-bytes.ts'
import { collect, content, storeSuite } from './store-suite.ts'

t.test('a folder is a store', async t => {
  const root = join(t.testdir(), 'made/on the way')
  await storeSuite(t, () => new FileStore(root))
  t.same(readdirSync(root), ['.uploads'], 'no folder is left without objects')
  t.same(readdirSync(join(root, '.uploads')), [])
})

t.test('keys do not lead out of the archive', async t => {
  const store = new FileStore(join(t.testdir(), 'archive'))
  for (const key of ['../a', 'a/../../b', '/a', 'a//b', '', 'a\0b', './a'])
    await t.rejects(async () => store.put(key, Buffer.from('x')), { code: 'store' }, key)
  t.notOk(existsSync(join(t.testdirName, 'a')))
})

t.test('a part whose line was torn by a crash does not count', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  const upload = await store.createUpload('a/b', randomUUID())
  const one = await store.putPart(upload, 1, content('one'))
  appendFileSync(join(root, '.uploads', `${upload.id}.data`), 'half of')
  appendFileSync(join(root, '.uploads', `${upload.id}.log`), '2 7 abc')
  const next = new FileStore(root)
  t.same(await next.listParts(upload), [one])
  // The line that goes on behind the torn one must not become part of it.
  const two = await next.putPart(upload, 2, content('two'))
  t.same(await new FileStore(root).listParts(upload), [one, two])
  await next.completeUpload(upload, [one, two])
  t.equal((await store.get('a/b'))?.toString(), 'onetwo')
})

t.test('a part that was being overwritten when a crash came does not count', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  const upload = await store.createUpload('a/b', randomUUID())
  const one = await store.putPart(upload, 1, content('one'))
  await store.putPart(upload, 2, content('two'))
  const broken = { ...content('three'), chunks: [null as unknown as Buffer] }
  await t.rejects(store.putPart(upload, 2, broken))
  t.same(await new FileStore(root).listParts(upload), [one])
})

t.test('an upload that a crash left half made or half completed', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  const upload = await store.createUpload('a', randomUUID())
  const part = await store.putPart(upload, 1, content('one'))
  await store.completeUpload(upload, [part])
  // As if the process had ended before the log was removed.
  writeFileSync(join(root, '.uploads', `${upload.id}.log`), '1 3 x\n')
  const next = new FileStore(root)
  t.equal(await next.isCompleted(upload, 3), true)
  t.equal(await next.listParts(upload), undefined)
  t.same(await collect(next.listUploads('')), [{ key: 'a', id: upload.id }])
  await next.abortUpload(upload)
  t.same(await collect(next.listUploads('')), [])
  t.equal((await next.get('a'))?.toString(), 'one')
})

t.test('a large part does not stay in the page cache', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  const upload = await store.createUpload('a', randomUUID())
  const bytes = 4 * 1024 * 1024
  const path = join(root, '.uploads', `${upload.id}.data`)
  await store.putPart(upload, 1, content('x'.repeat(bytes)))
  t.ok(cachedBytes(path) < bytes / 4, `of ${bytes} bytes ${cachedBytes(path)} stayed`)
  readFileSync(path)
  t.equal(cachedBytes(path), bytes, 'which would be seen')
})

t.test('an upload without parts is one file, and is found by its name alone', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  const upload = await store.createUpload('r/b1/\u00e4.x', randomUUID())
  t.same(readdirSync(join(root, '.uploads')), [`${upload.id}.data`])
  const next = new FileStore(root)
  t.same(await collect(next.listUploads('r/b1/')), [{ key: 'r/b1/\u00e4.x', id: upload.id }])
  t.same(await next.listParts(upload), [])
  // That is another object, though its name begins alike.
  t.equal(await next.listParts({ ...upload, key: 'r/b1/\u00e4' }), undefined)
  await next.putPart(upload, 1, content('one'))
  t.same(await collect(next.listUploads('r/b1/')), [{ key: 'r/b1/\u00e4.x', id: upload.id }])
  await next.abortUpload(upload)
  t.same(readdirSync(join(root, '.uploads')), [])
})

t.test('what a crash left beside its place is found by the key it was for', async t => {
  const root = t.testdir()
  const store = new FileStore(root)
  await store.put('r/b1/x', Buffer.from('whole'))
  const left = `r%2Fb1%2F%C3%A4.${randomUUID()}.tmp`
  writeFileSync(join(root, '.uploads', left), 'ha')
  t.same(await collect(store.listUploads('r/b2/')), [])
  t.same(await collect(store.listUploads('r/b1/')), [{ key: 'r/b1/ä', id: left }])
  await store.abortUpload({ key: 'r/b1/ä', id: left })
  t.same(readdirSync(join(root, '.uploads')), [])
  t.equal((await store.get('r/b1/x'))?.toString(), 'whole')
})

t.test('who takes a lock drops what was left beside it, and beside what is above it', async t => {
  const root = t.testdir({ '.uploads': {} })
  const folder = join(root, '.uploads')
  const leave = (key: string) => {
    const name = `${encodeURIComponent(key)}.${randomUUID()}.tmp`
    writeFileSync(join(folder, name), 'ha')
    return name
  }
  const store = new FileStore(root)
  for (const isTaken of [false, true]) {
    for (const key of ['archive.json', 'r/repository.json', 'r/lock.json']) leave(key)
    const others = ['other/lock.json', 'r/b1/backup.json'].map(leave)
    t.equal(await store.putIfAbsent('r/lock.json', Buffer.from('me')), !isTaken)
    t.same(readdirSync(folder).sort(), others.sort(), 'those of others are theirs')
    for (const id of others) await store.abortUpload({ key: '', id })
  }
})

t.test('what somebody takes away while it is written is written again', async t => {
  const root = t.testdir()
  const own = async (number: number) => {
    const store = new FileStore(root)
    for (let round = 0; round < 20; round++) {
      await store.put('r/lock.json', Buffer.from(`${number}`))
      await store.putIfAbsent('r/lock.json', Buffer.from(`${number}`))
      await store.remove('r/lock.json')
    }
  }
  await Promise.all([own(1), own(2)])
  t.same(readdirSync(root), ['.uploads'])
  t.same(readdirSync(join(root, '.uploads')), [])
})

t.test('what the system refuses is told with the place', async t => {
  const root = t.testdir({ file: 'no folder' })
  const store = new FileStore(join(root, 'file'))
  await t.rejects(store.put('a', Buffer.from('x')), { code: 'store', message: /file/ })
})
