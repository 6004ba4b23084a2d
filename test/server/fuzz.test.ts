/**
 * Frames that are nearly right, from a seeded generator: whatever they are, the server answers or
 * closes the connection, and goes on serving others. `FUZZ_FRAMES` makes the run longer, `SEED`
 * repeats one.
 */
import t from 'tap'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import { commandRows } from '../../src/commands/table.ts'
import { serve, within } from './harness.ts'

const frames = Number(process.env['FUZZ_FRAMES'] ?? 20_000)
const seed = Number(process.env['SEED'] ?? 1)
const batchFrames = 500

/** Numbers below `limit`, the same for the same seed. */
function generator(start: number): (limit: number) => number {
  let state = start >>> 0
  return limit => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return Math.floor((state / 2 ** 32) * limit)
  }
}

/** These end connections, take the bucket away, or wait for seqnos that never come. */
const spared = new Set<number>([
  Opcode.quit,
  Opcode.quitq,
  Opcode.selectBucket,
  Opcode.createBucket,
  Opcode.deleteBucket,
  Opcode.dcpOpen,
  Opcode.seqnoPersistence,
])
const rows = commandRows.filter(({ opcode }) => !spared.has(opcode))

function nearlyRight(random: (limit: number) => number): Buffer {
  const row = rows[random(rows.length)]!
  const bytes = (length: number) => Buffer.from(Array.from({ length }, () => random(256)))
  const frame = encodeRequest({
    opcode: row.opcode,
    vbid: random(18),
    opaque: random(2 ** 32),
    cas: random(4) === 0 ? BigInt(random(1000)) : 0n,
    key: row.key === 'none' ? '' : `key-${random(20)}`,
    extras: random(3) === 0 ? bytes(row.extras.at(-1)!) : Buffer.alloc(row.extras[0]!),
    value: row.value === 'none' ? '' : bytes(random(40)),
    ...(random(4) === 0 && { framing: bytes(1 + random(5)) }),
  })
  // The magic and the length of the body are left alone, so that what follows is read as well.
  for (let faults = random(4); faults > 0; faults--) {
    const at = 2 + random(frame.length - 2)
    if (at < 8 || at > 11) frame[at] = random(256)
  }
  return frame
}

t.test(`${frames} mutated frames of seed ${seed}`, async t => {
  const { client, server } = await serve(t)
  const random = generator(seed)
  for (let sent = 0; sent < frames; sent += batchFrames) {
    const one = await client()
    one.socket.removeAllListeners('data')
    let tail = Buffer.alloc(0)
    const answered = new Promise<void>(resolve => {
      one.socket.on('data', (chunk: Buffer) => {
        tail = Buffer.concat([tail, chunk]).subarray(-24)
        if (tail.readUInt32BE(12) === 0xc0ffee && tail[1] === Opcode.noop) resolve()
      })
      one.socket.on('close', () => resolve())
    })
    for (let index = 0; index < batchFrames; index++) one.socket.write(nearlyRight(random))
    one.socket.write(encodeRequest({ opcode: Opcode.noop, opaque: 0xc0ffee }))
    await within(20_000, () => answered)
    one.socket.destroy()
  }
  const last = await client()
  t.equal((await last.call({ opcode: Opcode.noop })).status, Status.success)
  const stored = { opcode: Opcode.set, key: 'k', value: 'v', extras: Buffer.alloc(8), vbid: 15 }
  const { status } = await last.call(stored)
  t.ok(status === Status.success || status === Status.notMyVbucket)
  t.equal(server.counters.answer(Opcode.get, Status.internalError), 0)
  for (const { opcode } of rows) {
    t.equal(server.counters.answer(opcode, Status.internalError), 0, `opcode ${opcode}`)
  }
})
