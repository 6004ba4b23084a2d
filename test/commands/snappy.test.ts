/** Compressed values: what is refused, how they are stored, and who sees them as they are. */
import assert from 'node:assert'
import fc from 'fast-check'
import { compressSync, uncompressSync } from 'snappy'
import t, { type Test } from 'tap'
import { Datatype } from '../../protocol/datatype.ts'
import {
  encodeCounterExtras,
  encodeFeatures,
  encodeStoreExtras,
  encodeUint32Extras,
  encodeWithMeta,
} from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import type { Frame } from '../../protocol/frame.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { inDefaultCollection } from '../../src/storage/record-key.ts'
import { serve, type TestClient } from '../server/harness.ts'
import { blockOf, copyOf, literal, repeated } from '../support/snappy-blocks.ts'

const { json, snappy, xattr } = Datatype
const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const storeExtras = encodeStoreExtras({ flags: 0, expiry: 0 })
const set = (key: string, value: Uint8Array | string, datatype = 0) => ({
  opcode: Opcode.set,
  key,
  value,
  datatype,
  extras: storeExtras,
})
const get = (key: string) => ({ opcode: Opcode.get, key })

async function say(client: TestClient, ...features: number[]): Promise<void> {
  await client.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
}

async function scene(t: Test, compression: 'off' | 'passive' | 'active') {
  const served = await serve(t, { bucketSettings: { compression, detectJson: true } })
  const [one, plain] = [await served.client(), await served.client()]
  await say(one, Feature.snappy, Feature.json, Feature.xattr, Feature.xerror)
  await say(plain, Feature.json)
  return { ...served, one, plain }
}

t.test('a compressed value is stored as it came, and expanded for who did not ask', async t => {
  const { one, plain, bucket } = await scene(t, 'passive')
  const block = repeated('a', 200)
  t.equal((await one.call(set('k', block, snappy))).status, Status.success)
  const key = inDefaultCollection(Buffer.from('k'))
  t.equal(bucket.documents.get(bucket.vbucket(0)!, key, 0, 2)!.valueLength, block.length)
  const kept = await one.call(get('k'))
  t.equal(kept.datatype, snappy)
  t.same(kept.value(), block)
  const expanded = await plain.call(get('k'))
  t.equal(expanded.datatype, 0)
  t.equal(expanded.value().toString(), 'a'.repeat(200))
  const gat = { opcode: Opcode.gat, key: 'k', extras: encodeUint32Extras(100) }
  t.equal((await plain.call(gat)).value().toString(), 'a'.repeat(200))
  const framing = encodeRequestFraming({ durabilityLevel: 3 })
  const durable = { ...gat, extras: encodeUint32Extras(200), framing }
  t.equal((await plain.call(durable)).value().toString(), 'a'.repeat(200))
  t.same(
    (
      await one.call({ ...gat, opcode: Opcode.getRandomKey, key: '', extras: Buffer.alloc(0) })
    ).value(),
    block,
  )
  t.equal((await plain.call({ opcode: Opcode.getRandomKey })).valueLength, 200)
})

t.test('what is no block, or too large a one, is refused without its memory', async t => {
  const { one, plain } = await scene(t, 'passive')
  const refused: [Buffer, number][] = [
    [Buffer.alloc(0), Status.invalidArguments],
    [Buffer.from('ffffffffffff', 'hex'), Status.invalidArguments],
    [blockOf(10, literal('short')), Status.invalidArguments],
    [blockOf(3, literal('long')), Status.invalidArguments],
    [blockOf(9, literal('x'), copyOf(5, 8)), Status.invalidArguments],
    [blockOf(2 ** 32 - 1, literal('x')), Status.invalidArguments],
    [blockOf(2 ** 20, literal('x')), Status.invalidArguments],
    [repeated('b', 2 ** 20 + 1), Status.tooLarge],
  ]
  for (const [block, status] of refused) {
    const answer = await one.call(set('k', block, snappy))
    t.equal(answer.status, status, block.toString('hex', 0, 16))
  }
  t.equal((await one.call(set('k', repeated('b', 2 ** 20), snappy))).status, Status.success)
  t.equal((await plain.call(get('k'))).valueLength, 2 ** 20)
  const unasked = await plain.call(set('k', repeated('c', 200), snappy))
  t.equal(unasked.status, Status.invalidArguments, 'it was not negotiated')
})

t.test('off expands, active compresses what pays', async t => {
  const off = await scene(t, 'off')
  await off.one.call(set('k', repeated('a', 500), snappy))
  t.match(await off.one.call(get('k')), { datatype: 0, valueLength: 500 })
  const active = await scene(t, 'active')
  const text = JSON.stringify({ text: 'a'.repeat(500) })
  await active.plain.call(set('k', text))
  const kept = await active.one.call(get('k'))
  t.equal(kept.datatype, snappy | json)
  t.ok(kept.valueLength < 100)
  t.equal(uncompressSync(kept.value()).toString(), text)
  t.equal((await active.plain.call(get('k'))).value().toString(), text)
  await active.plain.call(set('short', 'aaaa'))
  t.equal((await active.one.call(get('short'))).datatype, 0, 'what is short is not')
})

t.test('a block that saves little is stored expanded', async t => {
  const { one } = await scene(t, 'passive')
  await one.call(set('k', blockOf(20, literal('abcdefghijklmnopqrst')), snappy))
  t.match(await one.call(get('k')), { datatype: 0, valueLength: 20 })
})

t.test('attributes inside of a block are looked at, kept and not shown', async t => {
  const { one, plain } = await scene(t, 'passive')
  const attributes = Buffer.from('0000000a00000006610022312200', 'hex')
  const whole = Buffer.concat([attributes, Buffer.from(`"${'a'.repeat(300)}"`)])
  const withMeta = (opcode: number, value: Buffer, revno: number) => ({
    opcode,
    key: 'k',
    value: compressSync(value),
    datatype: xattr | snappy,
    extras: encodeWithMeta({
      flags: 0,
      expiry: 0,
      revno,
      casHigh: 0,
      casLow: revno,
      options: undefined,
      nmeta: undefined,
    }),
  })
  t.equal((await one.call(withMeta(Opcode.setWithMeta, whole, 1))).status, Status.success)
  for (const client of [one, plain]) {
    const body = await client.call(get('k'))
    t.equal(body.datatype, json)
    t.equal(body.valueLength, 302)
  }
  const random = { opcode: Opcode.getRandomKey, extras: Buffer.of(0, 0, 0, 0, 1) }
  t.same((await plain.call(random)).value(), whole)
  await plain.call({ opcode: Opcode.append, key: 'k', value: ' ' })
  t.equal((await plain.call(random)).valueLength, whole.length + 1, 'they are still there')
  const cut = withMeta(Opcode.setWithMeta, whole.subarray(0, 9), 5)
  t.equal((await one.call(cut)).status, Status.xattrInvalid)
  const gone = withMeta(Opcode.delWithMeta, whole, 6)
  t.equal((await one.call(gone)).status, Status.success, 'the body of a deletion is dropped')
})

type Step = { kind: string; key: string; value: string }

const values = fc.oneof(
  fc.constantFrom('', '7', '41', '{}', '"x"', 'a'.repeat(300), JSON.stringify(['b'.repeat(400)])),
  fc.string({ maxLength: 300 }),
)
const steps = fc.array(
  fc.record({
    kind: fc.constantFrom(
      'set',
      'add',
      'replace',
      'append',
      'prepend',
      'increment',
      'gat',
      'touch',
      'delete',
    ),
    key: fc.constantFrom('k', 'l'),
    value: values,
  }),
  { minLength: 1, maxLength: 25 },
)

function requestOf({ kind, key, value }: Step, isCompressed: boolean): RequestFields {
  const opcode = Opcode[kind as keyof typeof Opcode]
  if (kind === 'delete') return { opcode, key }
  if (kind === 'increment') {
    return { opcode, key, extras: encodeCounterExtras({ delta: 3n, initial: 5n, expiry: 0 }) }
  }
  if (kind === 'gat' || kind === 'touch') {
    return { opcode, key, extras: encodeUint32Extras(1000 + value.length) }
  }
  const extras = kind.endsWith('pend') ? Buffer.alloc(0) : storeExtras
  const bytes = isCompressed ? compressSync(value) : Buffer.from(value)
  return { opcode, key, extras, value: bytes, datatype: isCompressed ? snappy : 0 }
}

function shown(frame: Frame): string {
  if (frame.status !== Status.success) return `status ${frame.status}`
  const value =
    (frame.datatype & snappy) === 0 ? frame.value() : (uncompressSync(frame.value()) as Buffer)
  return `${frame.datatype & json} ${value.toString()}`
}

for (const compression of ['off', 'passive', 'active'] as const) {
  t.test(`documents are the same for who compresses and who does not: ${compression}`, async t => {
    t.comment(`SEED=${seed}`)
    const compressing = await scene(t, compression)
    const plain = await scene(t, compression)
    const property = fc.asyncProperty(steps, async sequence => {
      for (const step of sequence) {
        const one = await compressing.one.call(requestOf(step, true))
        const other = await plain.plain.call(requestOf(step, false))
        assert.equal(shown(one), shown(other), step.kind)
        const expected = shown(await plain.plain.call(get(step.key)))
        for (const client of [compressing.one, compressing.plain, plain.one]) {
          assert.equal(shown(await client.call(get(step.key))), expected, step.kind)
        }
      }
    })
    await fc.assert(property, { numRuns: 40, seed })
  })
}

t.test('who has negotiated it for everything may compress the value of any request', async t => {
  const { one, client } = await scene(t, 'passive')
  const other = await client()
  const asked = [Feature.snappy, Feature.snappyEverywhere, Feature.json, Feature.xerror]
  const hello = await other.call({ opcode: Opcode.hello, value: encodeFeatures(asked) })
  t.same(hello.value(), encodeFeatures(asked), 'all of it is granted')
  await other.call(set('k', '{"a":1}'))
  const path = Buffer.from('text')
  const text = `"${'x'.repeat(300)}"`
  const request = (datatype: number, value: Buffer) => ({
    opcode: Opcode.subdocDictAdd,
    key: 'k',
    extras: Buffer.of(0, path.length, 0),
    datatype,
    value,
  })
  const block = compressSync(Buffer.concat([path, Buffer.from(text)])) as Buffer
  t.equal((await other.call(request(snappy, block))).status, Status.success)
  t.equal((await other.call(get('k'))).value().toString(), `{"a":1,"text":${text}}`)
  const opaque = 77
  const again = await other.call({ ...request(snappy, block), opaque })
  t.match(again, { status: Status.subdocPathExists, opaque })
  const damaged = await other.call(request(snappy, Buffer.from('no block')))
  t.equal(damaged.status, Status.invalidArguments)
  t.match(JSON.parse(damaged.value().toString()), { error: { context: /no block of Snappy/ } })
  // A block that stands for more than any value may have.
  const large = compressSync(Buffer.alloc(2 ** 20 + 1)) as Buffer
  t.equal((await other.call(request(snappy, large))).status, Status.tooLarge)
  t.equal(
    (await one.call(request(snappy, block))).status,
    Status.invalidArguments,
    'not negotiated',
  )
  const alone = await one.call({
    opcode: Opcode.hello,
    value: encodeFeatures([Feature.snappyEverywhere, Feature.json]),
  })
  t.same(alone.value(), encodeFeatures([Feature.json]), 'it is nothing by itself')
})
