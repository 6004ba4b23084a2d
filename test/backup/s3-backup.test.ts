import { randomBytes } from 'node:crypto'
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { backUp as backUpHere, type BackupOptions } from '../../src/backup/run/backup.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { CommandLine, runCommandLine } from '../cli/command-line.ts'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { altered, SmallPartsStore } from './s3-scene.ts'
import { documentsOf } from './scene.ts'
import { collect } from './store-suite.ts'

const gateway = await startRadosgw(t)
Object.assign(process.env, gateway.environment)
const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())

/** Of 10 MiB in each vbucket: a segment of 8 MiB, and one that no store takes but as the last. */
const documentsOfVbucket = 10
const keys = Array.from({ length: 4 }, (_, vbid) => {
  const found: string[] = []
  for (let number = 0; found.length < documentsOfVbucket; number++)
    if (client.vbucketOf(`key-${number}`) === vbid) found.push(`key-${number}`)
  return found
})
for (const key of keys.flat()) await client.set(key, randomBytes(2 ** 20))

const url = `s3://${gateway.bucket}/team a/b+c`
const place = ['--archive', url, '--s3-path-style', '--repo', 'r']
const staging = join(t.testdirName, 'staging')
const backUp = (port: number, ...words: string[]) =>
  new CommandLine(port, ['backup', ...place, '--staging', staging, ...words], gateway.environment)

/** CAS and value of every document. */
async function valuesOf(port: number): Promise<Map<string, string>> {
  const documents = await documentsOf(port)
  return new Map([...documents].map(([key, { cas, value }]) => [key, `${cas} ${value}`]))
}

t.test(
  'interrupted, a document added to a vbucket that was done: resumed, it is whole',
  async t => {
    const stall = { kind: 'stall', afterBytes: 26 * 2 ** 20, durationMs: 600_000 } as const
    const proxy = await FaultyProxy.start({ targetPort: daemon.port, plan: () => [stall] })
    t.teardown(() => proxy.close())
    const first = backUp(proxy.port, '--threads', '1')
    const journals = () => readdirSync(staging, { recursive: true, encoding: 'utf8' })
    const isDone = (vbid: number) => journals().some(name => name.endsWith(`vb-000${vbid}.json`))
    const wait = () => new Promise(resolve => setTimeout(resolve, 20))
    while (first.process.exitCode === null) {
      // The third vbucket has its first part: the two in front of it are done.
      try {
        if (isDone(2) || (isDone(1) && proxy.counters.stall > 0)) break
      } catch {
        // There is no staging folder yet.
      }
      await wait()
    }
    first.process.kill('SIGKILL')
    await first.finished

    await client.set(keys[0]![0]!, 'changed')
    await client.set(keys[0]![1]!, randomBytes(1000))
    const resumed = await backUp(daemon.port, '--resume').finished
    t.match(resumed, { code: 0, stderr: /vbucket 0: rebase: its last part is too small/ })

    const store = new S3Store(gateway.bucket, 'team a/b+c', { pathStyle: true })
    t.teardown(() => store.close())
    t.same(await collect(store.listUploads('')), [])
    const objects = (await collect(store.list('r/'))).map(({ key }) =>
      key.split('/').slice(2).join('/'),
    )
    const data = ['data/0000', 'data/0001', 'data/0002', 'data/0003']
    t.same(objects.filter(Boolean), ['backup.json', ...data, 'manifest.json'])

    const verified = await runCommandLine(
      daemon.port,
      ['verify', ...place],
      '',
      gateway.environment,
    )
    t.match(verified, { code: 0, stdout: /^1 backup, 4 objects, of which 4 .* 0 damages/ })
    const target = await startDaemon(t, { flags: ['--vbuckets', '4'] })
    const restore = ['restore', ...place]
    const restored = await runCommandLine(target.port, restore, '', gateway.environment)
    t.match(restored, { code: 0 })
    t.same(await valuesOf(target.port), await valuesOf(daemon.port))
  },
)

t.test('an incremental backup behind it', async t => {
  await client.set('one more', 'document')
  const finished = await backUp(daemon.port).finished
  t.match(finished, { code: 0, stdout: /^000002-\S+ incremental: 1 mutation, 0 deletions/ })
})

t.test('with the rebase switched off the store refuses such a backup', async t => {
  const place = 'switched-off'
  const honest = new SmallPartsStore(gateway.bucket, place, { partBytesMin: 5 * 2 ** 20 })
  // Who believes that any part may be followed by another has no reason to make a new upload.
  const switchedOff = new SmallPartsStore(gateway.bucket, place, { partBytesMin: 0 })
  t.teardown(() => Promise.all([honest.close(), switchedOff.close()]))
  const stop = new AbortController()
  const stopping = altered(honest, {
    putPart(upload, number, content) {
      const isSecond = upload.key.endsWith('data/0001')
      if (isSecond) stop.abort(new Error('stopped'))
      return isSecond
        ? Promise.reject(new Error('stopped'))
        : honest.putPart(upload, number, content)
    },
  })
  const run = (store: ObjectStore, more: Partial<BackupOptions> = {}) =>
    backUpHere({
      store,
      repository: 'r',
      source: { host: '127.0.0.1', port: daemon.port, bucket: 'default' },
      stagingRoot: join(t.testdirName, 'switched-off'),
      threads: 1,
      signal: new AbortController().signal,
      report: () => {},
      ...more,
    })
  await t.rejects(run(stopping, { signal: stop.signal }), { message: 'stopped' })
  await client.set(keys[0]![0]!, randomBytes(1000))
  const refused = run(switchedOff, { unfinished: 'resume' })
  await t.rejects(refused, { code: 'store', message: /data\/0000 .*EntityTooSmall/ })
  t.match(await run(honest, { unfinished: 'purge' }), { type: 'full', vbuckets: 4 })
})
