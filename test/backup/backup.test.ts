import { readdirSync, existsSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import type { Secret } from '../../src/backup/archive/repository-key.ts'
import type { BackupEvent } from '../../src/backup/run/context.ts'
import { backUp, type BackupOptions } from '../../src/backup/run/backup.ts'
import { Repository } from '../../src/backup/repository.ts'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'
import { byKey, documentsOf, writeDocuments } from './scene.ts'

const daemon = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await writeDocuments(client, 0, 2000)

interface Scene {
  archive: string
  staging: string
  events: BackupEvent[]
  backUp(more?: Partial<BackupOptions>): ReturnType<typeof backUp>
}

function scene(t: Test): Scene {
  const folder = t.testdir()
  const archive = join(folder, 'archive')
  const staging = join(folder, 'staging')
  const events: BackupEvent[] = []
  return {
    archive,
    staging,
    events,
    backUp: more =>
      backUp({
        store: new FileStore(archive),
        repository: 'r',
        source: { host: '127.0.0.1', port: daemon.port, bucket: 'default' },
        stagingRoot: staging,
        blockBytes: 4096,
        segmentBytes: 16384,
        signal: new AbortController().signal,
        report: event => events.push(event),
        ...more,
      }),
  }
}

/** What only a running backup needs is gone. */
function nothingIsLeft(t: Test, { archive, staging }: Scene): void {
  t.same(readdirSync(join(archive, '.uploads')), [])
  t.notOk(existsSync(join(archive, 'r/lock.json')))
  for (const name of readdirSync(join(archive, 'r')).filter(name => name !== 'repository.json'))
    t.strictSame(
      readdirSync(join(archive, 'r', name)).filter(entry => entry !== 'data'),
      ['backup.json', 'manifest.json'],
    )
  for (const repository of readdirSync(staging)) t.same(readdirSync(join(staging, repository)), [])
}

t.test('a full backup, then incremental ones, and every document is there', async t => {
  const s = scene(t)
  const full = await s.backUp()
  t.match(full, { type: 'full', vbuckets: 16, counts: { mutation: 2000, deletion: 0 } })
  t.equal(full.previous, undefined)
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
  nothingIsLeft(t, s)

  await writeDocuments(client, 100, 200, 2)
  for (let number = 0; number < 50; number++) await client.remove(`key-${number}`)
  const second = await s.backUp()
  t.match(second, {
    type: 'incremental',
    previous: full.id,
    counts: { mutation: 100, deletion: 50 },
  })
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))

  const third = await s.backUp()
  t.match(third, { type: 'incremental', previous: second.id, storedBytes: 0 })
  const again = await s.backUp({ full: true })
  t.equal(again.type, 'full')
  t.equal(again.counts.mutation, 1950)
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
  const old = await readIndependently(s.archive, 'r', { backup: full.id })
  t.equal(old.length, 2000)
  nothingIsLeft(t, s)
  const repository = await Repository.open(new FileStore(s.archive), 'r')
  t.same(
    (await repository.backups()).map(({ number, id }) => [number, id]),
    [full, second, third, again].map(({ id }, index) => [index + 1, id]),
  )
})

t.test('compressed or not, encrypted or not', async t => {
  const expected = await documentsOf(daemon.port)
  const secret: Secret = { kind: 'passphrase', text: 'open sesame' }
  const env = { PASSPHRASE: 'open sesame' }
  for (const more of [{ compression: 'none' }, { compression: 'deflate', secret }] as const) {
    const s = scene(t)
    await s.backUp(more)
    t.same(byKey(await readIndependently(s.archive, 'r', { env })), expected)
    if (!('secret' in more)) continue
    await t.rejects(s.backUp(), { code: 'key' })
    const wrong: Secret = { kind: 'passphrase', text: 'another' }
    await t.rejects(s.backUp({ secret: wrong }), { code: 'key' })
    nothingIsLeft(t, s)
  }
})

t.test('interrupted, it says so, and is resumed with what has changed meanwhile', async t => {
  const s = scene(t)
  const stop = new AbortController()
  const slow = new FileStore(s.archive)
  let parts = 0
  const put = slow.putPart.bind(slow)
  slow.putPart = async (upload, number, content) => {
    const part = await put(upload, number, content)
    if (++parts === 12) stop.abort(new Error('stopped'))
    return part
  }
  await t.rejects(s.backUp({ store: slow, signal: stop.signal }), { message: 'stopped' })
  await t.rejects(s.backUp(), { code: 'unfinished' })
  await t.rejects(readIndependently(s.archive, 'r'))
  await writeDocuments(client, 150, 250, 3)
  await client.remove('key-1000')
  s.events.length = 0
  const backup = await s.backUp({ unfinished: 'resume' })
  t.equal(backup.type, 'full')
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
  t.ok(s.events.some(event => event.type === 'vbucket' && event.action === 'go-on'))
  nothingIsLeft(t, s)
  const repository = await Repository.open(new FileStore(s.archive), 'r')
  t.equal((await repository.backups()).length, 1)
})

t.test('an unfinished backup can be dropped whole', async t => {
  const s = scene(t)
  const stop = new AbortController()
  const report = (event: BackupEvent) => {
    if (event.type === 'step' && event.step === 'complete') stop.abort(new Error('stopped'))
  }
  await t.rejects(s.backUp({ signal: stop.signal, report }), { message: 'stopped' })
  t.ok(readdirSync(join(s.archive, '.uploads')).length > 0)
  await s.backUp({ unfinished: 'purge' })
  nothingIsLeft(t, s)
  t.same(byKey(await readIndependently(s.archive, 'r')), await documentsOf(daemon.port))
})
