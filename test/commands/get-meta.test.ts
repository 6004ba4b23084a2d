/** GET_META and GETQ_META, in both versions. */
import t, { type Test } from 'tap'
import {
  decodeMeta,
  encodeFeatures,
  encodeGetMetaVersion,
  encodeStoreExtras,
  GetMetaVersion,
} from '../../protocol/commands/index.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { serve } from '../server/harness.ts'

const vbid = 3
const expiry = 2_000_000_000
const versions = [Buffer.alloc(0), ...Object.values(GetMetaVersion).map(encodeGetMetaVersion)]

/** The CAS of a deletion is told after a HELLO only. */
async function helloed(t: Test) {
  const { client } = await serve(t)
  const one = await client()
  await one.call({ opcode: Opcode.hello, value: encodeFeatures([Feature.json]) })
  return one
}

/** One without anything special. */
const document = {
  opcode: Opcode.set,
  vbid,
  key: 'k',
  value: 'v',
  extras: encodeStoreExtras({ flags: 0, expiry: 0 }),
}

function getMeta(key: string, extras: Buffer, opcode: number = Opcode.getMeta) {
  return { opcode, vbid, key, extras }
}

t.test('what a document is, in the version asked for', async t => {
  const one = await helloed(t)
  const extras = encodeStoreExtras({ flags: 7, expiry })
  const json = { value: '{"a":1}', datatype: Datatype.json }
  const stored = await one.call({ ...document, ...json, extras })
  const known = { isDeleted: false, flags: 7, expiry, revno: 1 }
  const datatypes = [undefined, undefined, Datatype.json]
  for (const [index, version] of versions.entries()) {
    const answer = await one.call(getMeta('k', version))
    t.equal(answer.status, Status.success)
    t.equal(answer.cas, stored.cas)
    t.equal(answer.value().length, 0)
    t.same(decodeMeta(answer), { ...known, datatype: datatypes[index] })
  }
})

t.test('a tombstone is told of, with when it was deleted; what never was is not', async t => {
  const one = await helloed(t)
  await one.call(document)
  const removed = await one.call({ opcode: Opcode.delete, vbid, key: 'k' })
  for (const version of versions) {
    const answer = await one.call(getMeta('k', version))
    t.equal(answer.status, Status.success)
    t.equal(answer.cas, removed.cas)
    const meta = decodeMeta(answer)!
    t.match(meta, { isDeleted: true, revno: 2 })
    t.ok(Math.abs(meta.expiry - Date.now() / 1000) < 60, 'the time of its deletion')
    t.equal((await one.call(getMeta('x', version))).status, Status.keyNotFound)
  }
})

t.test('GETQ_META answers hits only', async t => {
  const one = await helloed(t)
  await one.call(document)
  const [, , second] = versions
  one.send({ ...getMeta('x', second!, Opcode.getqMeta), opaque: 1 })
  one.send({ ...getMeta('k', second!, Opcode.getqMeta), opaque: 2 })
  one.send({ opcode: Opcode.noop, opaque: 3 })
  const hit = await one.next()
  t.equal(hit.opaque, 2)
  t.match(decodeMeta(hit), { isDeleted: false, revno: 1, datatype: 0 })
  t.equal((await one.next()).opaque, 3)
})

t.test('other versions are refused, and the connection lives', async t => {
  const one = await helloed(t)
  for (const extras of [Buffer.of(0), Buffer.of(3), Buffer.of(2, 2)]) {
    const answer = await one.call(getMeta('k', extras))
    t.equal(answer.status, Status.invalidArguments, extras.toString('hex'))
  }
  t.equal((await one.call({ opcode: Opcode.noop })).status, Status.success)
})
