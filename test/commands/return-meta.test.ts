/** RETURN_META, GET_KEYS, and what tombstones that come with metadata keep. */
import t, { type Test } from 'tap'
import {
  decodeKeyList,
  decodeMeta,
  decodeReturnedMeta,
  encodeFeatures,
  encodeReturnMeta,
  encodeStoreExtras,
  encodeUint32Extras,
  encodeWithMeta,
  ReturnMetaMutation,
  WithMetaOption,
} from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { committed } from '../support/bucket.ts'
import { serve } from '../server/harness.ts'

const { set, add } = ReturnMetaMutation
const change = (mutation: ReturnMetaMutation, more: { cas?: bigint; framing?: Buffer } = {}) => ({
  opcode: Opcode.returnMeta,
  vbid: 3,
  key: 'k',
  value: mutation === ReturnMetaMutation.delete ? '' : 'value',
  extras: encodeReturnMeta({ mutation, flags: 7, expiry: 2_000_000_000 }),
  ...more,
})
const getMeta = (key: string) => ({ opcode: Opcode.getMeta, vbid: 3, key, extras: Buffer.of(2) })

async function scene(t: Test) {
  const served = await serve(t)
  const one = await served.client()
  const features = [Feature.json, Feature.xerror, Feature.altRequest, Feature.syncReplication]
  await one.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
  return { ...served, one }
}

t.test('RETURN_META sets, adds and deletes, and tells what came of it', async t => {
  const { one } = await scene(t)
  const stored = await one.call(change(set))
  t.same(decodeReturnedMeta(stored), { flags: 7, expiry: 2_000_000_000, revno: 1 })
  const meta = await one.call(getMeta('k'))
  t.equal(meta.cas, stored.cas)
  t.equal((await one.call(change(add))).status, Status.keyExists)
  const framing = encodeRequestFraming({ durabilityLevel: 3 })
  const again = await one.call(change(set, { cas: stored.cas, framing }))
  t.equal(decodeReturnedMeta(again)!.revno, 2)
  t.equal((await one.call(change(set, { cas: stored.cas }))).status, Status.keyExists)
  const removed = await one.call(change(ReturnMetaMutation.delete))
  t.equal(decodeReturnedMeta(removed)!.revno, 3)
  t.not(removed.cas, again.cas)
  t.equal((await one.call(change(ReturnMetaMutation.delete))).status, Status.keyNotFound)
  const fourth = { ...change(set), extras: encodeUint32Extras(4) }
  t.equal((await one.call(fourth)).status, Status.invalidArguments)
  const unknown = Buffer.concat([encodeUint32Extras(4), Buffer.alloc(8)])
  t.equal((await one.call({ ...change(set), extras: unknown })).status, Status.invalidArguments)
})

t.test('GET_KEYS lists what is committed, from a key on', async t => {
  const { one, bucket } = await scene(t)
  const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
  for (const key of ['d', 'b', 'a', 'c']) {
    await one.call({ opcode: Opcode.set, vbid: 3, key, value: 'v', extras })
  }
  await committed(bucket)
  const keys = (key: string, more: object = {}) =>
    one.call({ opcode: Opcode.getKeys, vbid: 3, key, ...more })
  const names = async (key: string, more: object = {}) =>
    decodeKeyList(await keys(key, more))!.map(name => name.toString())
  t.same(await names('a'), ['a', 'b', 'c', 'd'])
  t.same(await names('bb', { extras: encodeUint32Extras(1) }), ['c'])
  t.same(await names('e'), [])
  t.equal((await keys('')).status, Status.invalidArguments)
  t.equal((await keys('a', { vbid: 99 })).status, Status.notMyVbucket)
  t.equal(bucket.snapshots.pins().length, 0)
})

t.test('a tombstone keeps the flags that it came with, on disk too, and wins by them', async t => {
  const { one, bucket } = await scene(t)
  const remove = (key: string, flags: number, options = 0) => ({
    opcode: Opcode.delWithMeta,
    vbid: 3,
    key,
    extras: encodeWithMeta({
      flags,
      expiry: 1_700_000_000,
      revno: 5,
      casHigh: 0,
      casLow: 9,
      options,
      nmeta: undefined,
    }),
  })
  t.equal((await one.call(remove('k', 0xdead))).status, Status.success)
  t.equal((await one.call(remove('x', 0xbeef, WithMetaOption.isExpiration))).status, Status.success)
  const check = async () => {
    const meta = { isDeleted: true, expiry: 1_700_000_000, revno: 5 }
    t.match(decodeMeta(await one.call(getMeta('k'))), { ...meta, flags: 0xdead })
    t.match(decodeMeta(await one.call(getMeta('x'))), { ...meta, flags: 0xbeef })
  }
  await check()
  await committed(bucket)
  for (let i = 0; i < 200; i++) {
    const key = `filler-${i}`
    const value = 'v'.repeat(10_000)
    const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
    await one.call({ opcode: Opcode.set, vbid: 4, key, value, extras })
  }
  await committed(bucket)
  await check()
  t.equal((await one.call(remove('k', 0xdead))).status, Status.keyExists)
  t.equal((await one.call(remove('k', 0xdeae))).status, Status.success)
})
