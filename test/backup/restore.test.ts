import assert from 'node:assert/strict'
import {
  closeSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  truncateSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { FaultyProxy } from '../support/faulty-proxy.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { documentsOf, writeDocuments } from './scene.ts'

const source = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const client = await KvClient.connect({ port: source.port })
t.teardown(() => client.close())

// Beside the data of the daemon, which made the folder.
const archive = join(t.testdirName, 'archive')
const common = ['--archive', archive, '--repo', 'r']
const staging = ['--staging', join(t.testdirName, 'staging')]
const backUp = async (...words: string[]) => {
  const command = ['backup', ...common, ...staging, '--json', ...words]
  const { stdout, code } = await runCommandLine(source.port, command)
  assert.equal(code, 0)
  const { backup } = JSON.parse(stdout.split('\n').at(-1)!) as { backup: { id: string } }
  return backup.id
}

/** All that a restore has to keep; seqnos are the bucket's own. */
async function stateOf(port: number): Promise<Map<string, object>> {
  const documents = await documentsOf(port)
  return new Map(
    [...documents].map(([key, { cas, revno, flags, time, datatype, value }]) => [
      key,
      { cas, revno, flags, time, datatype, value },
    ]),
  )
}

await writeDocuments(client, 0, 2000)
// Each vbucket has an object of its own in this one, in the other they share some.
const first = await backUp('--pack-below', '0')
const asOfFirst = await stateOf(source.port)
await writeDocuments(client, 500, 700, 2)
for (let number = 0; number < 100; number++) await client.remove(`key-${number}`)
await client.set('text', 'no JSON at all', { flags: 0xffffffff })
await client.set('empty', '')
await backUp()
const asOfSecond = await stateOf(source.port)

const target = (t: Test, vbuckets: number) =>
  startDaemon(t, { flags: ['--vbuckets', String(vbuckets)] })
const restore = (to: { port: number }, ...words: string[]) =>
  runCommandLine(to.port, ['restore', ...common, ...staging, ...words])

async function connect(to: DaemonProcess): Promise<KvClient> {
  const client = await KvClient.connect({ port: to.port })
  t.teardown(() => client.close())
  return client
}

t.test('every document comes back as it was, deletions included', async t => {
  const daemon = await target(t, 16)
  const restored = await restore(daemon)
  t.match(restored, { code: 0, stderr: '' })
  t.match(restored.stdout, /: 2302 changes applied, 0 skipped/)
  t.same(await stateOf(daemon.port), asOfSecond)
  const there = await (await connect(daemon)).getMeta('key-7')
  t.same(there, await client.getMeta('key-7'))
  t.equal(there?.isDeleted, true)
  // It is on the disk of the daemon: a crash takes nothing of it.
  await daemon.kill()
  const again = await startDaemon(t, { data: daemon.data, flags: ['--vbuckets', '16'] })
  t.same(await stateOf(again.port), asOfSecond)
})

t.test('as of an older backup, into a bucket with another number of vbuckets', async t => {
  const daemon = await target(t, 4)
  t.match(await restore(daemon, '--to', first), { code: 0 })
  t.same(await stateOf(daemon.port), asOfFirst)
  // And on to the newer one: what is there already is skipped.
  t.match(await restore(daemon), { code: 0, stdout: /: 302 changes applied, 2000 skipped/ })
  t.same(await stateOf(daemon.port), asOfSecond)
  t.match(await restore(daemon, '--to', '000009-20200101T000000Z'), { code: 1 })
})

t.test('what is newer in the bucket stays, unless forced', async t => {
  const daemon = await target(t, 16)
  const other = await connect(daemon)
  for (let round = 0; round < 5; round++) await other.set('key-1500', `newer ${round}`)
  t.match(await restore(daemon), { code: 0, stdout: /1 skipped/ })
  t.equal((await other.get('key-1500'))?.value.toString(), 'newer 4')
  t.match(await restore(daemon, '--force'), { code: 0, stdout: /2302 changes applied, 0 skipped/ })
  t.same(await stateOf(daemon.port), asOfSecond)
})

t.test('a connection that is lost again and again is made again', async t => {
  const daemon = await target(t, 16)
  const cut = { kind: 'cut', afterBytes: 6000 } as const
  const proxy = await FaultyProxy.start({ targetPort: daemon.port, plan: () => [cut] })
  t.teardown(() => proxy.close())
  const restored = await restore(proxy, '--threads', '2', '--force')
  t.match(restored, { code: 0 })
  t.ok(proxy.counters.cut > 3, `${proxy.counters.cut} cuts`)
  t.same(await stateOf(daemon.port), asOfSecond)
})

t.test('verify finds nothing wrong, then what is', async t => {
  const verify = (...words: string[]) =>
    runCommandLine(source.port, ['verify', ...common, ...words])
  t.match(await verify(), { code: 0, stdout: /^2 backups, 32 objects, of which 32 .* 0 damages/ })
  t.match(await verify('--quick'), { code: 0, stdout: /of which 0 were read/ })
  t.match(await verify('--sample', '50', '--backup', first), { code: 0, stdout: /^1 backup, 16 / })
  t.match(await verify('--sample', '5', '--quick'), { code: 2 })

  const data = join(archive, 'r', first, 'data')
  const object = join(data, readdirSync(data).sort()[3]!)
  const file = openSync(object, 'r+')
  const byte = Buffer.alloc(1)
  readSync(file, byte, 0, 1, 5000)
  writeSync(file, Buffer.from([byte[0]! ^ 1]), 0, 1, 5000)
  closeSync(file)
  t.match(await verify('--quick'), { code: 0 })
  const found = await verify()
  t.match(found, { code: 10, stdout: /DAMAGED r\/\S+\/data\/0003: .*\n.* 1 damage,/ })
  const daemon = await target(t, 16)
  t.match(await restore(daemon), { code: 10, stderr: /data\/0003/ })

  truncateSync(object, 4000)
  t.match(await verify('--quick'), { code: 10, stdout: /has 4000 bytes, not/ })
  rmSync(object)
  t.match(await verify('--quick'), { code: 10, stdout: /0003 is missing/ })
})
