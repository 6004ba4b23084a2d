import fc from 'fast-check'
import t from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { KvClient } from '../../src/client/index.ts'
import { connectKv, statusOf } from '../integration/clients.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { Quota } from '../../src/vbucket/quota.ts'

t.test('whatever is admitted keeps to the limit, and what shrinks is always admitted', t => {
  const change = fc.record({ bytes: fc.nat(150), replaced: fc.nat(150) })
  fc.assert(
    fc.property(fc.nat(300), fc.array(change), (limitBytes, changes) => {
      const quota = new Quota(() => limitBytes)
      for (const { bytes, replaced } of changes) {
        const replacedBytes = Math.min(replaced, quota.usedBytes)
        const status = quota.admit(bytes, replacedBytes)
        if (bytes <= replacedBytes && status !== Status.success) return false
        if (status === Status.success) quota.usedBytes += bytes - replacedBytes
        if (limitBytes > 0 && quota.usedBytes > limitBytes) return false
        if (limitBytes > 0 && bytes > limitBytes && status === Status.temporaryFailure) return false
      }
      return true
    }),
  )
  t.end()
})

const quotaBytes = 100_000
const value = 'x'.repeat(9_000)

/** Stores documents until the bucket is full; returns how many there was room for. */
async function fill(client: KvClient): Promise<number> {
  for (let count = 0; ; count++) {
    const status = await statusOf(client.set(`key-${count}`, value))
    if (status === Status.temporaryFailure) return count
    if (status !== Status.success || count > 100) throw new Error(`status ${status}`)
  }
}

t.test('a bucket takes as much as its quota, and more when something is gone', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
  const admin = await connectKv(t, daemon)
  await admin.createBucket('small', `max_size=${quotaBytes};flush_enabled=true`)
  const client = await connectKv(t, daemon, { bucket: 'small' })
  t.equal(await statusOf(client.set('large', Buffer.alloc(quotaBytes + 1))), Status.tooLarge)
  t.equal(await fill(client), 11)
  t.equal(await statusOf(client.append('key-1', value)), Status.temporaryFailure)
  t.equal(await statusOf(client.set('key-1', 'less')), Status.success, 'what shrinks is taken')
  t.equal(await statusOf(client.set('another', value.slice(9))), Status.success)
  await client.remove('key-2')
  t.equal(await statusOf(client.set('key-2', value)), Status.success)
  t.equal(await statusOf(client.set('key-3', value)), Status.success, 'in the place of its like')
  t.equal(await statusOf(client.set('more', value)), Status.temporaryFailure)
  t.equal(await statusOf(admin.set('elsewhere', Buffer.alloc(quotaBytes))), Status.success)
  t.equal(await daemon.stop(), 0)

  const second = await startDaemon(t, { data: daemon.data })
  const again = await connectKv(t, second, { bucket: 'small' })
  t.equal(await statusOf(again.set('more', value)), Status.temporaryFailure, 'it is still full')
  await again.deleteVbucket(0)
  await again.setVbucketState(0, VbucketState.active)
  await again.flush()
  t.equal(await fill(again), 11, 'nothing of what was there counts')
  t.equal(await second.stop(), 0)
})

t.test('a quota can be raised', async t => {
  const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
  const admin = await connectKv(t, daemon)
  await admin.createBucket('small', `max_size=${quotaBytes}`)
  const client = await connectKv(t, daemon, { bucket: 'small' })
  await fill(client)
  const page = `http://127.0.0.1:${daemon.httpPort}/pools/default/buckets/small`
  const raised = await fetch(page, {
    method: 'POST',
    body: new URLSearchParams({ ramQuotaMB: '1' }),
  })
  t.equal(raised.status, 200)
  t.equal(await statusOf(client.set('more', value)), Status.success)
})
