/** Which mutations keep the expiry that a document has, when asked to. */
import t from 'tap'
import {
  decodeMeta,
  encodeCounterExtras,
  encodeStoreExtras,
  encodeUint32Extras,
} from '../../protocol/commands/index.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { serve } from '../server/harness.ts'

const framing = encodeRequestFraming({ preserveExpiry: true })
const expiry = 2_000_000_000
const store = (opcode: Opcode, value: string, expiry: number) => ({
  opcode,
  key: 'k',
  value,
  extras: encodeStoreExtras({ flags: 0, expiry }),
})

t.test('an expiry is kept by what Couchbase lets keep it; others refuse', async t => {
  const { client } = await serve(t)
  const one = await client()
  const expiryOf = async () =>
    decodeMeta(await one.call({ opcode: Opcode.getMeta, key: 'k' }))!.expiry
  const made = await one.call({ ...store(Opcode.set, '1', expiry), framing })
  t.equal(made.status, Status.success)
  t.equal(await expiryOf(), expiry, 'there was none to keep')
  const counter = encodeCounterExtras({ delta: 1n, initial: 0n, expiry: 0 })
  const keeping = [
    store(Opcode.set, '2', 5),
    store(Opcode.replace, '3', 0),
    { opcode: Opcode.increment, key: 'k', extras: counter },
    { opcode: Opcode.append, key: 'k', value: '0' },
    { opcode: Opcode.prepend, key: 'k', value: '1' },
  ]
  for (const request of keeping) {
    t.equal((await one.call({ ...request, framing })).status, Status.success)
    t.equal(await expiryOf(), expiry)
  }
  const refusing = [
    store(Opcode.add, '4', 0),
    { opcode: Opcode.delete, key: 'k' },
    { opcode: Opcode.touch, key: 'k', extras: encodeUint32Extras(9) },
    { opcode: Opcode.gat, key: 'k', extras: encodeUint32Extras(9) },
    { opcode: Opcode.get, key: 'k' },
  ]
  for (const request of refusing) {
    t.equal((await one.call({ ...request, framing })).status, Status.notSupported)
  }
  await one.call(store(Opcode.set, '5', 0))
  t.equal(await expiryOf(), 0, 'without it, it is replaced')
})
