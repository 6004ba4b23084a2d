/** What a daemon says about itself: statistics for clients, and its log for people. */
import t from 'tap'
import { DcpClient, ServerError } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { connectKv } from './clients.ts'

t.setTimeout(3 * 60_000)

t.test('statistics groups, as tools of memcached and Couchbase read them', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '64'] })
  const client = await connectKv(t, daemon)
  await client.set('k', 'v', { vbid: 7 })
  await client.get('k', { vbid: 7 })
  await client.get('none', { vbid: 7 })
  await client.set('gone', 'v', { vbid: 7 })
  await client.remove('gone', { vbid: 7 })
  await client.seqnoPersisted(7, 3)

  const general = Object.fromEntries(await client.stats())
  t.match(general, {
    pid: String(daemon.pid),
    curr_items: '1',
    cmd_set: '2',
    get_hits: '1',
    get_misses: '1',
    delete_hits: '1',
    curr_connections: '1',
    ep_dbname: 'default',
    ep_flusher_state: 'running',
    ep_degraded_mode: '0',
    ep_queue_size: '0',
    version: /^\d+\.\d+\.\d+/,
  })
  t.match(Object.fromEntries(await client.stats('settings')), {
    item_size_max: String(20 * 2 ** 20),
    key_size_max: '250',
    tcpport: String(daemon.port),
  })
  const states = await client.stats('vbucket')
  t.equal(states.size, 64)
  t.equal(states.get('vb_7'), 'active')
  const seqnos = Object.fromEntries(await client.stats('vbucket-seqno 7'))
  t.match(seqnos, { 'vb_7:high_seqno': '3', 'vb_7:last_persisted_seqno': '3' })
  t.match(seqnos, { 'vb_7:purge_seqno': '0', 'vb_7:uuid': /^\d+$/ })
  const details = await client.stats('vbucket-details 7')
  t.equal(details.get('vb_7:num_tombstones'), '1')
  const failovers = Object.fromEntries(await client.stats('failovers 7'))
  t.match(failovers, { 'vb_7:num_entries': '1', 'vb_7:0:seq': '0' })
  t.equal(failovers['vb_7:0:id'], seqnos['vb_7:uuid'])
  t.match(Object.fromEntries(await client.stats('key k 7')), { key_seqno: '1', key_flags: '0' })
  t.ok((await client.stats('timings')).size > 0)
})

t.test('groups about streams', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '64'] })
  const client = await connectKv(t, daemon)
  t.equal((await client.stats('dcp')).get('ep_dcp_count'), '0')
  const stream = await DcpClient.connect({ port: daemon.port, name: 'watcher', vbuckets: [3, 4] })
  t.teardown(() => stream.close())
  await client.set('k', 'v', { vbid: 3 })
  const first = await stream[Symbol.asyncIterator]().next()
  t.equal(first.value?.key.toString(), 'k')
  const dcp = await client.stats('dcp')
  t.equal(dcp.get('ep_dcp_count'), '1')
  t.equal(dcp.get('eq_dcpq:watcher:type'), 'producer')
  t.equal(dcp.get('eq_dcpq:watcher:num_streams'), '2')
  t.equal(dcp.get('eq_dcpq:watcher:stream_3_last_sent_seqno'), '1')
  t.equal((await client.stats('parked')).get('parked_snapshots'), '0')
})

t.test('a group that does not exist is not found, whatever its name', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '64'] })
  const client = await connectKv(t, daemon)
  const names = ['no-such-group', 'constructor', '__proto__', 'toString', 'vbucket-seqno x']
  for (const name of names) {
    await t.rejects(client.stats(name), ServerError, name)
    t.ok((await client.stats('settings')).size > 0, 'and the connection goes on')
  }
  t.equal(await daemon.stop(), 0)
  t.notOk(daemon.stderr.some(line => line.includes('"level":"error"')))
})

t.test('the log names what happens, and no keys or values of documents', async t => {
  const secret = 'alice@example.com'
  const first = await startDaemon(t, { flags: ['--vbuckets', '64', '--log-level', 'debug'] })
  const client = await connectKv(t, first)
  const refusals: Promise<unknown>[] = [
    client.set(secret, secret, { cas: 77n }),
    client.set(`${secret}${'x'.repeat(250)}`, 'v'),
    client.replace(secret, secret),
    client.remove(secret),
    client.increment(secret),
    client.unlock(secret, 1n),
    client.set(secret, secret, { vbid: 999 }),
    client.stats(`key ${secret} 1`),
    client.stats(secret),
  ]
  for (const refusal of refusals) await t.rejects(refusal, ServerError)
  await client.set(secret, secret, { expiry: 1 })
  await client.getMeta(secret)
  const stream = await DcpClient.connect({ port: first.port, name: 'tail' })
  for await (const change of stream) {
    t.equal(change.key.toString(), secret)
    break
  }
  await stream.close()
  await first.kill()

  const second = await startDaemon(t, {
    data: first.data,
    flags: ['--expiry-pager-interval', '0.1', '--purge-interval', '0.1', '--purge-age', '0'],
  })
  const again = await connectKv(t, second)
  await again.set(secret, secret)
  await again.compact(again.vbucketOf(secret), { dropDeletes: true })
  await again.flush()
  t.equal(await second.stop(), 0)

  const lines = [...first.stderr, ...second.stderr]
  for (const event of ['"ready"', 'not clean', 'flush', '"stopped"']) {
    t.ok(
      lines.some(line => line.includes(event)),
      event,
    )
  }
  t.ok(
    lines.every(line => isObject(line)),
    'every line is one JSON object',
  )
  t.same(
    lines.filter(line => line.includes(secret)),
    [],
  )
})

function isObject(line: string): boolean {
  const parsed: unknown = JSON.parse(line)
  return typeof parsed === 'object' && parsed !== null
}
