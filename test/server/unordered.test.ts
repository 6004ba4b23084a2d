/** Answers in another order than their requests, for clients that negotiated it. */
import assert from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { encodeFeatures, encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Feature } from '../../protocol/feature.ts'
import { DurabilityLevel, encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { RequestFields } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { serve, type TestClient } from './harness.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))
const durable = encodeRequestFraming({ durabilityLevel: DurabilityLevel.persistToMajority })
const extras = encodeStoreExtras({ flags: 0, expiry: 0 })

function say(client: TestClient, ...features: number[]) {
  return client.call({ opcode: Opcode.hello, value: encodeFeatures(features) })
}

const requests: Record<string, (key: string, value: string) => RequestFields> = {
  set: (key, value) => ({ opcode: Opcode.set, key, value, extras }),
  durableSet: (key, value) => ({ opcode: Opcode.set, key, value, extras, framing: durable }),
  get: key => ({ opcode: Opcode.get, key }),
  barrier: key => ({ opcode: Opcode.get, key, framing: encodeRequestFraming({ barrier: true }) }),
  noop: () => ({ opcode: Opcode.noop }),
  quietSet: (key, value) => ({ opcode: Opcode.setq, key, value, extras, framing: durable }),
}
/** These run alone: what is before them is answered before them, what is behind them after. */
const alone = new Set(['barrier', 'noop', 'quietSet'])

t.test('a durable write holds back nobody, a no-op tells that it is done', async t => {
  const { client } = await serve(t)
  const one = await client()
  await say(one, Feature.unorderedExecution, Feature.syncReplication, Feature.altRequest)
  const { durableSet, get, noop } = requests
  one.send({ ...durableSet!('k', 'v'), opaque: 1 }, { ...get!('k', ''), opaque: 2 })
  const [first, second] = await one.take(2)
  t.equal(first!.opaque, 2)
  t.equal(first!.value().toString(), 'v', 'it was run in order')
  t.equal(second!.opaque, 1)
  one.send({ ...durableSet!('k', 'w'), opaque: 3 }, { ...noop!('', ''), opaque: 4 })
  t.same(
    (await one.take(2)).map(frame => frame.opaque),
    [3, 4],
  )
})

t.test('without it, and on a connection of streams, the order of answers is kept', async t => {
  const { client } = await serve(t)
  const one = await client()
  const { durableSet, get } = requests
  one.send({ ...durableSet!('k', 'v'), opaque: 1 }, { ...get!('k', ''), opaque: 2 })
  t.same(
    (await one.take(2)).map(frame => frame.opaque),
    [1, 2],
  )
  await say(one, Feature.unorderedExecution, Feature.xerror)
  const open = {
    opcode: Opcode.dcpOpen,
    key: 's',
    extras: Buffer.from('0000000000000001', 'hex'),
  }
  t.equal((await one.call(open)).status, Status.notSupported)
})

t.test('each request has its own answer, on its side of each barrier', async t => {
  t.comment(`SEED=${seed}`)
  const { client } = await serve(t)
  const one = await client()
  await say(one, Feature.unorderedExecution, Feature.syncReplication, Feature.altRequest)
  const step = fc.record({
    kind: fc.constantFrom(...Object.keys(requests)),
    key: fc.constantFrom('a', 'b', 'c'),
  })
  let opaque = 0
  const property = fc.asyncProperty(
    fc.array(step, { minLength: 1, maxLength: 40 }),
    async steps => {
      const sent = new Map<number, { kind: string; group: number; expected: string | undefined }>()
      const values = new Map<string, string>()
      const frames: RequestFields[] = []
      let group = 0
      for (const key of ['a', 'b', 'c']) await one.call({ opcode: Opcode.delete, key })
      for (const { kind, key } of steps) {
        const isAlone = alone.has(kind)
        if (isAlone) group++
        const value = `value ${++opaque}`
        if (kind.endsWith('et') && kind !== 'get') values.set(key, value)
        const isRead = kind === 'get' || kind === 'barrier'
        const expected = isRead ? values.get(key) : undefined
        frames.push({ ...requests[kind]!(key, value), opaque })
        if (kind !== 'quietSet') sent.set(opaque, { kind, group, expected })
        if (isAlone) group++
      }
      one.send(...frames)
      let reached = 0
      for (const answer of await one.take(sent.size)) {
        const request = sent.get(answer.opaque)
        assert.ok(request, `an answer to nothing: ${answer.opaque}`)
        sent.delete(answer.opaque)
        assert.ok(request.group >= reached, `${request.kind} was overtaken by a barrier`)
        reached = request.group
        const isMiss = answer.opcode === Opcode.get && request.expected === undefined
        assert.equal(answer.status, isMiss ? Status.keyNotFound : Status.success)
        if (request.expected !== undefined)
          assert.equal(answer.value().toString(), request.expected)
      }
      // Quiet writes may still be on their way.
      assert.equal((await one.call({ opcode: Opcode.noop })).opcode, Opcode.noop)
    },
  )
  await fc.assert(property, { numRuns: 60, seed })
})
