import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { committed } from '../support/bucket.ts'
import { serve, type TestClient } from '../server/harness.ts'

const set = (key: string, value: string) => ({
  opcode: Opcode.set,
  key,
  value,
  extras: Buffer.alloc(8),
})

/** A group as an object, or the status that refused it. */
async function stat(client: TestClient, key = ''): Promise<Record<string, string> | Status> {
  client.send({ opcode: Opcode.stat, key, opaque: 42 })
  const rows: Record<string, string> = {}
  for (;;) {
    const frame = await client.next()
    t.equal(frame.opaque, 42)
    if (frame.status !== Status.success) return frame.status as Status
    if (frame.keyLength === 0) return rows
    rows[frame.key().toString()] = frame.value().toString()
  }
}

t.test('the general group counts what was done', async t => {
  const { client } = await serve(t)
  const one = await client()
  await one.call(set('a', '1'))
  await one.call(set('b', '1'))
  await one.call({ opcode: Opcode.get, key: 'a' })
  await one.call({ opcode: Opcode.get, key: 'none' })
  await one.call({ opcode: Opcode.delete, key: 'b' })
  await one.call({ ...set('a', '1'), cas: 1n })
  const rows = await stat(one)
  t.match(rows, {
    pid: String(process.pid),
    curr_connections: '1',
    total_connections: '1',
    cmd_get: '2',
    get_hits: '1',
    get_misses: '1',
    cmd_set: '3',
    delete_hits: '1',
    cas_badval: '1',
    cmd_flush: '0',
    curr_items: '1',
    ep_tombstones: '1',
    ep_dbname: 'default',
    ep_flusher_state: 'running',
    version: /^\d+\.\d+\.\d+/,
    uptime: /^\d+$/,
  })
  await one.call({ opcode: Opcode.flush })
  t.match(await stat(one), { cmd_flush: '1', curr_items: '0' })
  t.same(await stat(one, 'reset'), {})
  t.match(await stat(one), { cmd_get: '0', cmd_set: '0' })
})

t.test('settings, and groups that are empty here', async t => {
  const { client } = await serve(t)
  const one = await client()
  t.match(await stat(one, 'settings'), {
    maxconns: '2000',
    cas_enabled: 'yes',
    flush_enabled: 'yes',
    domain_socket: 'NULL',
  })
  for (const group of ['items', 'slabs', 'sizes', 'detail on', 'detail dump']) {
    t.same(await stat(one, group), {}, group)
  }
  t.equal(await stat(one, 'nonsense'), Status.keyNotFound)
  t.equal(await stat(one, 'constructor'), Status.keyNotFound)
})

t.test('groups about vbuckets', async t => {
  const { client, bucket } = await serve(t)
  const one = await client()
  await one.call({ ...set('a', '1'), vbid: 3 })
  await one.call({ ...set('b', '1'), vbid: 3 })
  await committed(bucket)
  await bucket.setState(5, VbucketState.replica)
  const { vbuuid } = bucket.vbucket(3)!.failoverLog
  const states = await stat(one, 'vbucket')
  t.equal(Object.keys(states).length, 16)
  t.match(states, { vb_3: 'active', vb_5: 'replica' })
  t.match(await stat(one, 'vbucket-seqno 3'), {
    'vb_3:high_seqno': '2',
    'vb_3:last_persisted_seqno': '2',
    'vb_3:purge_seqno': '0',
    'vb_3:uuid': String(vbuuid),
  })
  t.match(await stat(one, 'vbucket-details 3'), { vb_3: 'active', 'vb_3:num_items': '2' })
  t.same(await stat(one, 'failovers 3'), {
    'vb_3:num_entries': '1',
    'vb_3:0:id': String(vbuuid),
    'vb_3:0:seq': '0',
  })
  for (const group of ['vbucket', 'vbucket-seqno', 'vbucket-details', 'failovers']) {
    t.equal(await stat(one, `${group} 99`), Status.notMyVbucket)
    t.equal(await stat(one, `${group} x`), Status.invalidArguments)
  }
  const key = await stat(one, 'key b 3')
  t.match(key, { key_seqno: '2', key_vb_state: 'active', key_is_dirty: 'false' })
  t.equal(await stat(one, 'key none 3'), Status.keyNotFound)
  t.equal(await stat(one, 'key b'), Status.invalidArguments)
  await one.call({ opcode: Opcode.selectBucket, key: '@no bucket@' })
  t.equal(await stat(one, 'vbucket'), Status.noBucket)
  t.match(await stat(one), { curr_connections: '1' })
})

t.test('groups of other parts, and sampled durations', async t => {
  const { client } = await serve(t)
  const one = await client()
  t.same(await stat(one, 'dcp'), { dcp_group: 'here' })
  t.same(await stat(one, 'parked'), { parked_group: 'here' })
  for (let index = 0; index < 100; index++) await one.call({ opcode: Opcode.noop })
  const timings = await stat(one, 'timings')
  const names = Object.keys(timings).filter(name => name.startsWith('noop_'))
  t.ok(names.length > 0)
  for (const name of names) t.match(name, /^noop_\d+,\d+$/)
})
