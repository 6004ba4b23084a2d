/** Answers that tell how long they took. */
import t from 'tap'
import { encodeFeatures, encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { decodeResponseFraming, encodeRequestFraming } from '../../protocol/framing.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { serve } from './harness.ts'

const extras = encodeStoreExtras({ flags: 7, expiry: 0 })
const framing = encodeRequestFraming({ durabilityLevel: 3 })

t.test('every kind of answer carries its duration, once that is negotiated', async t => {
  const { client } = await serve(t)
  const one = await client()
  const hello = (...features: number[]) => ({
    opcode: Opcode.hello,
    value: encodeFeatures(features),
  })
  const requests = [
    { opcode: Opcode.set, key: 'k', value: 'value', extras },
    { opcode: Opcode.set, key: 'k', value: 'durable', extras, framing },
    { opcode: Opcode.get, key: 'k' },
    { opcode: Opcode.getk, key: 'k' },
    { opcode: Opcode.get, key: 'none' },
    { opcode: Opcode.getk, key: 'none' },
    { opcode: Opcode.touch, key: 'k', extras: Buffer.alloc(4) },
    { opcode: Opcode.append, key: 'k', value: '!' },
    { opcode: Opcode.noop },
    { opcode: Opcode.version },
    { opcode: 0xee as Opcode },
    { opcode: Opcode.getFailoverLog, vbid: 99 },
    { opcode: Opcode.seqnoPersistence, extras: Buffer.alloc(8) },
  ]
  const plain = []
  for (const request of requests) plain.push(await one.call(request))
  await one.call({ opcode: Opcode.delete, key: 'k' })
  const granted = await one.call(hello(Feature.tracing))
  t.equal(granted.magic, Magic.response, 'as it was before')
  for (const [index, request] of requests.entries()) {
    const answer = await one.call({ ...request, opaque: 9 })
    const expected = plain[index]!
    t.equal(answer.magic, Magic.altResponse, `request ${index}`)
    t.equal(answer.opaque, 9)
    t.equal(answer.status, expected.status)
    t.same(answer.extras(), expected.extras())
    t.same(answer.key(), expected.key())
    t.same(answer.value(), expected.value())
    const { serverDurationMicros } = decodeResponseFraming(answer)!
    t.ok(serverDurationMicros! >= 0 && serverDurationMicros! < 10_000_000)
  }
  t.equal(plain[0]!.status, Status.success)
  t.equal((await one.call(hello())).magic, Magic.altResponse)
  t.equal((await one.call({ opcode: Opcode.noop })).magic, Magic.response)
})

t.test('what comes with HELLO in one write has been received then', async t => {
  const { client } = await serve(t)
  const one = await client()
  one.send(
    { opcode: Opcode.hello, value: encodeFeatures([Feature.tracing]) },
    { opcode: Opcode.noop },
  )
  const [, noop] = await one.take(2)
  t.ok(decodeResponseFraming(noop!)!.serverDurationMicros! < 1_000_000)
})
