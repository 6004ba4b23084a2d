/** What clients do cannot make the daemon's memory grow without bound, nor starve other clients. */
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import t, { type Test } from 'tap'
import { encodeStoreExtras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest } from '../../protocol/requests.ts'
import type { KvClient } from '../../src/client/index.ts'
import { startDaemon, type DaemonProcess } from '../support/start-daemon.ts'
import { connectKv } from './clients.ts'
import { MemoryWatch, ownMemoryMiB } from './process-memory.ts'

const MiB = 2 ** 20

t.setTimeout(4 * 60_000)

t.test('a thousand connections that never read their replies', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  const value = Buffer.alloc(MiB, 'v')
  await client.set('large', value, { vbid: 0 })
  await client.set('small', 'v', { vbid: 0 })
  const beforeMiB = ownMemoryMiB(daemon.pid)
  const watch = new MemoryWatch(t, daemon.pid)

  // Each is owed 30 MiB, all together far more than the machine has. Answers are whole, so that
  // even one for each connection is too much: to bound memory, some connections are closed.
  const get = encodeRequest({ opcode: Opcode.get, key: 'large' })
  const asked = Buffer.concat(Array.from({ length: 30 }, () => get))
  const silent: Socket[] = []
  for (let count = 0; count < 1000; count++) {
    const socket = await openSilent(t, daemon)
    socket.write(asked)
    silent.push(socket)
    if (count % 20 === 0) t.equal((await client.get('small', { vbid: 0 }))?.value.length, 1)
  }
  for (let round = 0; round < 50; round++) {
    t.equal((await client.get('large', { vbid: 0 }))?.value.length, value.length)
    await client.set(`other-${round}`, 'v')
  }
  const heldMiB = watch.stop() - beforeMiB
  // The limit of all connections together is 256 MiB at its default, which one GET may overshoot.
  t.ok(heldMiB < 400, `at most ${Math.round(heldMiB)} MiB more than before`)
  await daemon.line('closing the client that leaves most answers unread')

  for (const socket of silent) socket.destroy()
  await eventually(async () => (await connections(client)) === 1)
  await eventually(async () => ownMemoryMiB(daemon.pid) - beforeMiB < 200)
  t.equal(await daemon.stop(), 0)
  t.notOk(daemon.stderr.some(line => line.includes('"level":"error"')))
})

t.test('a thousand of them with answers of a size that can be held are all kept', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  const value = Buffer.alloc(100 * 1024, 'v')
  await client.set('k', value, { vbid: 0 })
  const get = encodeRequest({ opcode: Opcode.get, key: 'k' })
  const asked = Buffer.concat(Array.from({ length: 60 }, () => get))
  const watch = new MemoryWatch(t, daemon.pid)
  const silent: Socket[] = []
  for (let count = 0; count < 1000; count++) {
    const socket = await openSilent(t, daemon)
    socket.write(asked)
    silent.push(socket)
  }
  for (let round = 0; round < 50; round++) {
    t.equal((await client.get('k', { vbid: 0 }))?.value.length, value.length)
  }
  t.equal(await connections(client), 1001)
  t.ok(watch.stop() < 600, `${Math.round(watch.peakMiB)} MiB in all`)

  // One of them begins to read after all, and gets everything it asked for.
  let received = 0
  silent[0]!.on('data', chunk => (received += chunk.length))
  silent[0]!.resume()
  await eventually(() => Promise.resolve(received === 60 * (24 + 4 + value.length)))
})

t.test('writers that are faster than the disk are slowed down', async t => {
  const flags = ['--unflushed-soft', '4MiB', '--unflushed-hard', '32MiB', '--change-log', '8MiB']
  const daemon = await startDaemon(t, { flags })
  const client = await connectKv(t, daemon)
  const beforeMiB = ownMemoryMiB(daemon.pid)
  const watch = new MemoryWatch(t, daemon.pid)
  const writers = await Promise.all(Array.from({ length: 8 }, () => connectKv(t, daemon)))
  const value = Buffer.alloc(256 * 1024, 'v')
  const perWriter = 200
  let refused = 0
  const isDone = Promise.all(
    writers.map(async (writer, index) => {
      const sets = Array.from({ length: perWriter }, (_, count) =>
        writer.set(`${index}-${count % 20}`, value).catch((error: { statusName?: string }) => {
          if (error.statusName !== 'temporaryFailure') throw error
          refused++
        }),
      )
      await Promise.all(sets)
    }),
  )
  const unflushed = await sampleUntil(isDone, async () =>
    Number((await client.stats()).get('ep_unflushed_bytes')),
  )
  const writtenMiB = (writers.length * perWriter * value.length) / MiB
  const grownMiB = watch.stop() - beforeMiB
  t.ok(Math.max(...unflushed) < 36 * MiB, `${Math.max(...unflushed)} bytes at most not on disk`)
  t.ok(grownMiB < writtenMiB / 2, `${Math.round(grownMiB)} MiB more, of ${writtenMiB} written`)
  t.ok(refused < writers.length * perWriter, `${refused} refused`)
  for (let index = 0; index < writers.length; index++) {
    t.equal((await client.get(`${index}-0`))?.value.length, value.length)
  }
  t.equal(await daemon.stop(), 0)
})

t.test('a request that announces more than it brings holds no memory for it', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  await client.set('k', 'v')
  const beforeMiB = ownMemoryMiB(daemon.pid)
  const set = encodeRequest({
    opcode: Opcode.set,
    key: 'k',
    extras: encodeStoreExtras({ flags: 0, expiry: 0 }),
    value: Buffer.alloc(1000),
  })
  set.writeUInt32BE(20 * MiB, 8)
  for (let count = 0; count < 200; count++) (await openSilent(t, daemon)).write(set)
  await eventually(async () => (await connections(client)) === 201)
  t.equal((await client.get('k'))?.value.toString(), 'v')
  const heldMiB = ownMemoryMiB(daemon.pid) - beforeMiB
  t.ok(heldMiB < 100, `${Math.round(heldMiB)} MiB for 200 requests of 20 MiB that never come`)
})

/** A connection that writes and never reads. */
async function openSilent(t: Test, { port, host }: DaemonProcess): Promise<Socket> {
  const socket = connect({ port, host })
  socket.pause()
  socket.on('error', () => undefined)
  t.teardown(() => socket.destroy())
  await once(socket, 'connect')
  return socket
}

async function connections(client: KvClient): Promise<number> {
  return Number((await client.stats()).get('curr_connections'))
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  const deadline = Date.now() + 30_000
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error('it did not become true')
    await new Promise(resolve => setTimeout(resolve, 20))
  }
}

/** What `measure` shows again and again until `end` settles. */
async function sampleUntil(
  end: Promise<unknown>,
  measure: () => Promise<number>,
): Promise<number[]> {
  const samples: number[] = []
  let isRunning = true
  const stop = () => {
    isRunning = false
  }
  end.then(stop, stop)
  while (isRunning) {
    samples.push(await measure())
    await new Promise(resolve => setTimeout(resolve, 10))
  }
  await end
  return samples
}
