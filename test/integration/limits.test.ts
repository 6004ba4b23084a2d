/** The largest that is taken, and one more: refused, and the connection goes on. */
import t from 'tap'
import { encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { connectKv, readBucket, statusOf } from './clients.ts'

const MiB = 2 ** 20
const valueBytesMax = 20 * MiB

t.setTimeout(3 * 60_000)

t.test('values up to 20 MiB come back as they were', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  for (const bytes of [0, 1, 65_535, 65_536, MiB, 5 * MiB + 1, valueBytesMax]) {
    const value = patternOf(bytes)
    await client.set('k', value)
    t.ok((await client.get('k'))?.value.equals(value), `${bytes} bytes`)
  }
  const large = patternOf(valueBytesMax)
  t.equal(await daemon.stop(), 0)
  const second = await startDaemon(t, { data: daemon.data })
  const again = await connectKv(t, second)
  t.ok((await again.get('k'))?.value.equals(large), 'also from disk')
  t.ok((await readBucket(second)).get('k')?.value.equals(large), 'and by a stream')
})

t.test('a value of one byte more is too large; the connection and the old value stay', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  await client.set('k', 'old')
  for (const bytes of [valueBytesMax + 1, 22 * MiB, 30 * MiB]) {
    const refused = client.set('k', Buffer.alloc(bytes))
    t.equal(await statusOf(refused), Status.tooLarge, `${bytes} bytes`)
    t.equal((await client.get('k'))?.value.toString(), 'old')
  }
  await client.set('full', Buffer.alloc(valueBytesMax))
  const appended = client.append('full', 'x')
  t.equal(await statusOf(appended), Status.tooLarge, 'nor does a value grow beyond it')
  t.equal((await client.get('full'))?.value.length, valueBytesMax)
})

t.test('keys have up to 250 bytes', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  const key = Buffer.alloc(250, 'k')
  await client.set(key, 'v')
  t.equal((await client.get(key))?.value.toString(), 'v')
  const longer = Buffer.alloc(251, 'k')
  const refusals = [
    client.set(longer, 'v'),
    client.add(longer, 'v'),
    client.remove(longer),
    client.increment(longer, { initial: 1n }),
    client.touch(longer, 10),
    client.get(longer),
    client.getMeta(longer),
  ]
  for (const refusal of refusals) t.equal(await statusOf(refusal), Status.tooLarge)
  t.equal((await client.get(key))?.value.toString(), 'v', 'the connection goes on')
  const none = await client.request({
    opcode: Opcode.set,
    extras: encodeStoreExtras({ flags: 0, expiry: 0 }),
    value: 'v',
  })
  t.equal(none.status, Status.invalidArguments, 'and one byte at least')
})

/** No two stretches of it are equal, so that one that is out of place shows. */
function patternOf(bytes: number): Buffer {
  const value = Buffer.alloc(bytes)
  for (let at = 0; at + 4 <= bytes; at += 4) value.writeUInt32LE(at, at)
  return value
}
