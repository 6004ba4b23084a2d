/** The quota of a bucket, as a client meets it. */
import t, { type Test } from 'tap'
import {
  encodeCounterExtras,
  encodeFeatures,
  encodeWithMeta,
} from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { committed } from '../support/bucket.ts'
import { subdocScene } from './subdoc/client.ts'

const quotaBytes = 10_000
const value = 'x'.repeat(899)

/** A bucket that has no room for another value. */
async function full(t: Test) {
  const scene = await subdocScene(t)
  const { one, bucket } = scene
  bucket.shape.change({ quotaBytes })
  let count = 0
  while ((await one.set(value, `key-${count}`)).status === Status.success) count++
  return { ...scene, count }
}

t.test('a bucket takes as much as its quota, and more when something is gone', async t => {
  const { one, bucket, count } = await full(t)
  // Each of them is `\0key-N`, and its value.
  t.equal(count, 11)
  t.equal(bucket.statistics().documentBytes, 10 * (6 + 899) + (7 + 899))
  const status = async (text: string, key: string) => (await one.set(text, key)).status
  t.equal(await status(value, 'more'), Status.temporaryFailure)
  t.equal(await status('x'.repeat(quotaBytes), 'more'), Status.tooLarge)
  t.equal(await status('x'.repeat(quotaBytes), 'key-1'), Status.tooLarge, 'there is no room ever')
  t.equal(await status(value, 'key-1'), Status.success, 'in the place of its like')
  t.equal(await one.get('key-1'), `success ${value}`)
  t.equal((await one.remove('key-2')).status, Status.success)
  t.equal(await status(value, 'key-2'), Status.success, 'a deletion has made room')
  t.equal(await status('less', 'key-3'), Status.success, 'what shrinks is taken')
  t.equal(await status(value.slice(6), 'another'), Status.success)
  t.equal(await status(value, 'more'), Status.temporaryFailure)
  bucket.shape.change({ quotaBytes: 2 * quotaBytes })
  t.equal(await status(value, 'more'), Status.success, 'the quota has been raised')
  bucket.shape.change({ quotaBytes: 1000 })
  t.equal(await status(value, 'more'), Status.success, 'lowered, it takes nothing away')
  t.equal(await status(`${value}.`, 'more'), Status.temporaryFailure)
  bucket.shape.change({ quotaBytes: 0 })
  t.equal(await status(`${value}.`, 'more'), Status.success, 'no quota is no limit')
  t.equal(bucket.statistics().quotaRefusals, 6)
})

t.test('every way to make a document larger is refused, and none to take from it', async t => {
  const { one, bucket } = await full(t)
  await one.set('x'.repeat(790), 'key-0')
  await one.set('{"a":1}', 'tree')
  await one.set('9', 'number')
  const { client } = one
  const room = quotaBytes - bucket.statistics().documentBytes
  await one.set('x'.repeat(room - 5), 'rest')
  t.equal(bucket.statistics().documentBytes, quotaBytes)
  const { temporaryFailure, success } = Status
  const status = async (request: Parameters<typeof client.call>[0]) =>
    (await client.call(request)).status
  for (const opcode of [Opcode.append, Opcode.prepend]) {
    t.equal(await status({ opcode, key: 'key-0', value: 'x' }), temporaryFailure)
  }
  const counter = { delta: 1n, initial: 0n, expiry: 0 }
  const increment = { opcode: Opcode.increment, extras: encodeCounterExtras(counter) }
  t.equal(await status({ ...increment, key: 'number' }), temporaryFailure, '9 becomes 10')
  t.equal(await status({ ...increment, key: 'a new one' }), temporaryFailure)
  t.equal(await one.call(Opcode.subdocDictAdd, 'b', '1', { key: 'tree' }), 'temporaryFailure')
  t.equal(await one.xattr(Opcode.subdocDictAdd, 'b', '1', { key: 'tree' }), 'temporaryFailure')
  t.equal(await one.call(Opcode.subdocDelete, 'a', '', { key: 'tree' }), 'success')
  t.equal(await one.call(Opcode.subdocDictAdd, 'b', '1', { key: 'tree' }), 'success')
  const meta = { flags: 0, expiry: 0, revno: 9, casHigh: 9, casLow: 9 }
  const extras = encodeWithMeta({ ...meta, options: undefined, nmeta: undefined })
  const withMeta = { extras, key: 'more', value: 'x' }
  t.equal(await status({ ...withMeta, opcode: Opcode.setWithMeta }), temporaryFailure)
  t.equal(await status({ ...withMeta, opcode: Opcode.delWithMeta, value: '' }), success)
  const touch = { opcode: Opcode.touch, extras: Buffer.of(0, 0, 0, 100) }
  t.equal(await status({ ...touch, key: 'key-4' }), success)
  t.equal(bucket.statistics().documentBytes, quotaBytes)
})

t.test('statistics tell what there is room for, by collection, too', async t => {
  const { client, bucket } = await subdocScene(t)
  const { id } = await bucket.collections.createCollection('_default', 'fruit')
  const one = await client()
  const features = encodeFeatures([Feature.collections])
  await one.call({ opcode: Opcode.hello, value: features })
  const extras = Buffer.alloc(8)
  await one.call({ opcode: Opcode.set, key: '\0plain', value: '12345', extras })
  const key = Buffer.concat([Buffer.of(id), Buffer.from('apple')])
  await one.call({ opcode: Opcode.set, key, value: '1234567890', extras })
  await committed(bucket)
  const statistics = async (group: string) => {
    one.send({ opcode: Opcode.stat, key: group })
    const found = new Map<string, string>()
    for (;;) {
      const frame = await one.next()
      if (frame.keyLength === 0) return found
      found.set(frame.key().toString(), frame.value().toString())
    }
  }
  bucket.shape.change({ quotaBytes })
  const general = await statistics('')
  t.equal(general.get('ep_document_bytes'), '27')
  t.equal(general.get('ep_max_size'), String(quotaBytes))
  t.equal(general.get('ep_quota_refusals'), '0')
  const collections = await statistics('collections')
  t.equal(collections.get('0x0:0x0:data_size'), '11')
  t.equal(collections.get(`0x0:0x${id.toString(16)}:data_size`), '16')
  t.equal((await statistics('scopes')).get('0x0:data_size'), '27')
  await bucket.collections.dropCollection('_default', 'fruit')
  t.equal(bucket.statistics().documentBytes, 11, 'what it held counts no more')
})
