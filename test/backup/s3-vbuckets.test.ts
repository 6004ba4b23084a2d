/** As many vbuckets as there can be: more open uploads, and more objects, than a page of a list has. */
import { randomUUID } from 'node:crypto'
import t from 'tap'
import { dataKey } from '../../src/backup/archive/layout.ts'
import { Repository } from '../../src/backup/repository.ts'
import type { BackupEvent } from '../../src/backup/run/context.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { KvClient } from '../../src/client/index.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { smallBackup, SmallPartsStore, stagingOf } from './s3-scene.ts'
import { collect } from './store-suite.ts'

t.setTimeout(240_000)
const gateway = await startRadosgw(t)
Object.assign(process.env, gateway.environment)
const vbuckets = 1024
const daemon = await startDaemon(t, { flags: ['--vbuckets', String(vbuckets)] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
const everyVbucket = Array.from({ length: vbuckets }, (_, vbid) => vbid)
await Promise.all(everyVbucket.map(vbid => client.set(`key-${vbid}`, 'value', { vbid })))
const store = new SmallPartsStore(gateway.bucket, 'many', { partBytesMin: 5 * 2 ** 20 })
t.teardown(() => store.close())

t.test('interrupted behind the streams, resumed without one: nothing is left over', async t => {
  const many = { threads: 16, packBelow: 0 }
  const place = { port: daemon.port, bucket: 'default', repository: 'r', ...many }
  const staging = stagingOf(t, 'many')
  const stop = new AbortController()
  const report = (event: BackupEvent) => {
    if (event.type === 'step' && event.step === 'complete') stop.abort(new Error('stopped'))
  }
  const first = smallBackup(store, { ...place, staging, signal: stop.signal, report })
  await t.rejects(first, { message: 'stopped' })
  const open = await collect(store.listUploads('r/'))
  t.equal(new Set(open.map(({ key }) => key)).size, vbuckets, 'every vbucket has an open upload')

  // Those that nobody knows are more than a page, too.
  const prefix = open[0]!.key.slice(0, -dataKey(0).length)
  for (let vbid = 0; vbid < vbuckets; vbid += 64)
    await Promise.all(
      everyVbucket
        .slice(vbid, vbid + 64)
        .map(stray => store.createUpload(`${prefix}${dataKey(stray)}`, randomUUID())),
    )
  // From here on it needs nothing of the bucket.
  await client.setVbucketState(7, VbucketState.dead)
  const steps: string[] = []
  const document = await smallBackup(store, {
    ...place,
    staging,
    unfinished: 'resume',
    report: event => event.type === 'step' && steps.push(`${event.step} ${event.state}`),
  })
  t.equal(steps[0], 'stream skipped')
  t.match(document, { type: 'full', vbuckets, counts: { mutation: vbuckets } })
  t.same(await collect(store.listUploads('')), [])
  const repository = await Repository.open(store, 'r')
  const manifest = await repository.manifest(document, undefined)
  const names = [...manifest.objects.map(({ key }) => key), 'backup.json', 'manifest.json']
  const found = (await collect(store.list(prefix))).map(({ key }) => key.slice(prefix.length))
  t.equal(manifest.objects.length, vbuckets)
  t.same(found.sort(), names.sort())
})
