/** Several buckets, vbuckets that come and go, and compaction, on a daemon as a process. */
import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import t from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { ClientError, DcpClient } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { connectKv, documentsOf, readBucket, statusOf } from './clients.ts'

t.setTimeout(3 * 60_000)

const flags = ['--vbuckets', '64']

t.test('buckets are made, chosen, listed and removed, and share nothing', async t => {
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  t.same(await client.listBuckets(), ['default'])
  await client.createBucket('travel')
  t.equal(await statusOf(client.createBucket('travel')), Status.keyExists)
  for (const name of ['', '..', 'a/b', '.hidden', 'x'.repeat(101)]) {
    t.equal(await statusOf(client.createBucket(name)), Status.invalidArguments)
  }
  t.same(await client.listBuckets(), ['default', 'travel'])

  await client.set('k', 'of default')
  const other = await connectKv(t, daemon, { bucket: 'travel' })
  t.equal(await other.get('k'), undefined)
  await other.set('k', 'of travel')
  t.equal((await client.get('k'))?.value.toString(), 'of default')
  await client.selectBucket('travel')
  t.equal((await client.get('k'))?.value.toString(), 'of travel')
  await client.selectBucket('default')
  t.equal(await statusOf(client.selectBucket('none')), Status.accessDenied)
  t.equal((await client.get('k'))?.value.toString(), 'of default', 'nothing was changed by that')

  t.equal(await daemon.stop(), 0)
  const second = await startDaemon(t, { data: daemon.data, flags })
  const again = await connectKv(t, second, { bucket: 'travel' })
  t.equal((await again.get('k'))?.value.toString(), 'of travel')

  await again.deleteBucket('travel')
  t.equal(await statusOf(again.get('k')), Status.noBucket)
  t.same(await again.listBuckets(), ['default'])
  await again.selectBucket('default')
  t.equal((await again.get('k'))?.value.toString(), 'of default')
  await again.createBucket('travel')
  await again.selectBucket('travel')
  t.equal(await again.get('k'), undefined, 'a new bucket of the same name is empty')
  t.equal(await second.stop(), 0)
  t.same(readdirSync(join(daemon.data, 'buckets')).sort(), ['default', 'travel'])
})

t.test('buckets that go away take their streams with them', async t => {
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  await client.createBucket('doomed')
  const stream = await DcpClient.connect({
    port: daemon.port,
    name: 'watcher',
    bucket: 'doomed',
    reconnect: false,
  })
  t.teardown(() => stream.close())
  const events = stream.events()
  const opened = async () => (await client.stats('dcp')).get('ep_dcp_streams_opened')
  while ((await opened()) !== '64') await setTimeout(10)
  await client.deleteBucket('doomed')
  for (let count = 0; count < 64; count++) {
    t.match((await events.next()).value, { type: 'stream-end', reason: 'disconnected' })
  }
  await t.rejects(events.next(), ClientError)
  t.equal((await client.stats('dcp')).get('ep_dcp_count'), '0')
  await client.set('k', 'v')
  t.equal(await daemon.stop(), 0)
})

t.test('there are as many buckets as the daemon was told to have, and no more', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '1', '--buckets-max', '3'] })
  const client = await connectKv(t, daemon)
  await client.createBucket('second')
  await client.createBucket('third')
  t.equal(await statusOf(client.createBucket('fourth')), Status.temporaryFailure)
  await client.deleteBucket('second')
  await client.createBucket('fourth')
  t.same(await client.listBuckets(), ['default', 'fourth', 'third'])
  t.equal(await daemon.stop(), 0)

  const less = await startDaemon(t, { data: daemon.data, flags: ['--buckets-max', '2'] })
  const again = await connectKv(t, less)
  t.equal((await again.listBuckets()).length, 3, 'those that are there are served')
  t.equal(await statusOf(again.createBucket('fifth')), Status.temporaryFailure)
})

t.test('compaction that drops deletes answers when every tombstone is gone', async t => {
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  const vbid = 9
  const keys = Array.from({ length: 2_000 }, (_, index) => `key-${index}`)
  await Promise.all(keys.map(key => client.set(key, 'v', { vbid })))
  await Promise.all(keys.slice(10).map(key => client.remove(key, { vbid })))
  const highSeqno = (await client.allVbSeqnos()).get(vbid)!
  await client.compact(vbid, { dropDeletes: true })

  // The newest change stays, whatever it is: it says how far the vbucket has come.
  const stats = await client.stats(`vbucket-details ${vbid}`)
  t.equal(stats.get(`vb_${vbid}:num_tombstones`), '1')
  t.equal(stats.get(`vb_${vbid}:num_items`), '10')
  t.equal(stats.get(`vb_${vbid}:high_seqno`), String(highSeqno))
  t.equal(stats.get(`vb_${vbid}:purge_seqno`), String(highSeqno - 1))
  t.equal(await statusOf(client.compact(999)), Status.notMyVbucket)
  t.equal(await daemon.stop(), 0)

  const second = await startDaemon(t, { data: daemon.data, flags })
  const latest = await readBucket(second)
  t.equal(latest.size, 11, 'the others are gone from streams as well')
  t.equal(documentsOf(latest).size, 10)
})

t.test('vbuckets change their state, and keep it', async t => {
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  await client.set('k', 'v', { vbid: 1 })
  await client.setVbucketState(1, VbucketState.replica)
  t.equal(await statusOf(client.get('k', { vbid: 1 })), Status.notMyVbucket)
  await client.setVbucketState(2, VbucketState.dead)
  await client.deleteVbucket(3)
  t.equal(await statusOf(client.vbucketState(3)), Status.notMyVbucket)
  const before = await client.failoverLog(1)
  t.equal(await daemon.stop(), 0)

  const second = await startDaemon(t, { data: daemon.data, flags })
  const again = await connectKv(t, second)
  t.equal(await again.vbucketState(1), VbucketState.replica)
  t.equal(await again.vbucketState(2), VbucketState.dead)
  t.equal(await statusOf(again.vbucketState(3)), Status.notMyVbucket)
  await again.setVbucketState(1, VbucketState.active)
  t.equal((await again.get('k', { vbid: 1 }))?.value.toString(), 'v')
  t.equal((await again.failoverLog(1)).length, before.length + 1, 'active again: a new history')
  await again.setVbucketState(3, VbucketState.active)
  t.equal((await again.allVbSeqnos()).get(3), 0)
  t.equal(await second.stop(), 0)
})
