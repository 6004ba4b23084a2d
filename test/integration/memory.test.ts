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
  const value = Buffer.alloc(100 * 1024, 'v')
  await client.set('k', value, { vbid: 0 })
  const beforeMiB = ownMemoryMiB(daemon.pid)
  const watch = new MemoryWatch(t, daemon.pid)
  // 6 MiB for each, together more than the machine has: the kernel holds some of it.
  const silent = await openSilent(t, daemon, { count: 1000, key: 'k', times: 60 })
  for (let round = 0; round < 50; round++) {
    t.equal((await client.get('k', { vbid: 0 }))?.value.length, value.length)
    await client.set(`other-${round}`, 'v')
  }
  await eventually(async () => (await connections(client)) === 1001)
  const heldMiB = watch.stop() - beforeMiB
  // With 64 MiB unread in all, nobody may leave more than what was asked for before.
  t.ok(heldMiB < 400, `at most ${Math.round(heldMiB)} MiB more than before`)

  // One of them begins to read after all, and gets everything it asked for.
  let received = 0
  silent[0]!.on('data', chunk => (received += chunk.length))
  silent[0]!.resume()
  await eventually(() => Promise.resolve(received === 60 * (24 + 4 + value.length)))

  for (const socket of silent) socket.destroy()
  await eventually(async () => (await connections(client)) === 1)
  t.equal(await daemon.stop(), 0)
  t.notOk(daemon.stderr.some(line => line.includes('"level":"error"')))
})

t.test('replies too large to be held for all cost some their connection', async t => {
  const daemon = await startDaemon(t)
  const client = await connectKv(t, daemon)
  const value = Buffer.alloc(10 * MiB, 'v')
  await client.set('large', value, { vbid: 0 })
  await client.set('small', 'v', { vbid: 0 })
  const beforeMiB = ownMemoryMiB(daemon.pid)
  const watch = new MemoryWatch(t, daemon.pid)
  // A reply is made whole: one for each of them is far more than the 256 MiB that all may leave.
  const silent = await openSilent(t, daemon, { count: 200, key: 'large', times: 3 })
  await daemon.line('closing the client that leaves most answers unread')
  for (let round = 0; round < 20; round++) {
    t.equal((await client.get('small', { vbid: 0 }))?.value.length, 1)
    t.equal((await client.get('large', { vbid: 0 }))?.value.length, value.length)
  }
  const heldMiB = watch.stop() - beforeMiB
  t.ok(heldMiB < 500, `at most ${Math.round(heldMiB)} MiB more than before`)
  for (const socket of silent) socket.destroy()
  await eventually(async () => (await connections(client)) === 1)
})

t.test('writers that are faster than the disk are slowed down', async t => {
  const bounds = ['--unflushed-soft', '4MiB', '--unflushed-hard', '32MiB', '--change-log', '8MiB']
  const flags = [...bounds, '--document-cache', '0']
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

t.test('large values that are written over and over', async t => {
  const daemon = await startDaemon(t, { flags: ['--document-cache', '64MiB'] })
  const client = await connectKv(t, daemon)
  const value = Buffer.alloc(18 * MiB, 'v')
  const write = async (times: number) => {
    for (let count = 0; count < times; count++) await client.set(`large-${count % 3}`, value)
  }
  await write(12)
  const beforeMiB = ownMemoryMiB(daemon.pid)
  await write(24)
  const grownMiB = ownMemoryMiB(daemon.pid) - beforeMiB
  t.ok(grownMiB < 150, `${Math.round(grownMiB)} MiB more, of 432 written`)
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
  for (let count = 0; count < 200; count++) (await connectSilently(t, daemon)).write(set)
  await eventually(async () => (await connections(client)) === 201)
  t.equal((await client.get('k'))?.value.toString(), 'v')
  const heldMiB = ownMemoryMiB(daemon.pid) - beforeMiB
  t.ok(heldMiB < 100, `${Math.round(heldMiB)} MiB for 200 requests of 20 MiB that never come`)
})

/** Connections that ask for a document some times and never read. */
async function openSilent(
  t: Test,
  daemon: DaemonProcess,
  { count, key, times }: { count: number; key: string; times: number },
): Promise<Socket[]> {
  const get = encodeRequest({ opcode: Opcode.get, key })
  const asked = Buffer.concat(Array.from({ length: times }, () => get))
  const sockets = []
  while (sockets.length < count) {
    const socket = await connectSilently(t, daemon)
    socket.write(asked)
    sockets.push(socket)
  }
  return sockets
}

async function connectSilently(t: Test, { port, host }: DaemonProcess): Promise<Socket> {
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
  const deadline = Date.now() + 60_000
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
