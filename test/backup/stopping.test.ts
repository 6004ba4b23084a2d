/** Whoever asks to stop does not wait for what does not answer. */
import { once } from 'node:events'
import { createServer, type AddressInfo, type Socket } from 'node:net'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { FileStore } from '../../src/backup/store/file-store.ts'
import { CommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { buildArchive } from './archive-builder.ts'
import { record } from './objects.ts'

/** Takes connections and what comes over them, and says nothing. */
async function startSilent(t: Test) {
  const sockets = new Set<Socket>()
  const server = createServer(socket => sockets.add(socket.on('error', () => {}).resume()))
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    for (const socket of sockets) socket.destroy()
    server.close()
  })
  return { server, port: (server.address() as AddressInfo).port }
}

const archive = join(t.testdir(), 'archive')
await buildArchive(new FileStore(archive), [new Map([[0, [record(1, 'a', 'b')]]])], { vbuckets: 1 })
const folder = ['--archive', archive, '--repo', 'r', '--staging', join(t.testdirName, 'staging')]

async function stopped(t: Test, command: CommandLine, signal: NodeJS.Signals): Promise<void> {
  t.teardown(() => command.process.kill('SIGKILL'))
  const beginMs = performance.now()
  command.process.kill(signal)
  const { code, stderr } = await command.finished
  t.equal(code, 5)
  t.match(stderr, /stopped on request; --resume goes on from here/)
  // A second on a machine that has nothing else to do; whatever waits would wait much longer.
  t.ok(performance.now() - beginMs < 5000)
}

for (const [command, signal] of [
  ['backup', 'SIGINT'],
  ['restore', 'SIGTERM'],
] as const)
  t.test(`${command}: the daemon says nothing`, async t => {
    const silent = await startSilent(t)
    const running = new CommandLine(silent.port, [command, ...folder])
    await once(silent.server, 'connection')
    await stopped(t, running, signal)
  })

for (const command of ['backup', 'restore'])
  t.test(`${command}: the archive says nothing`, async t => {
    const daemon = await startDaemon(t)
    const silent = await startSilent(t)
    const store = ['--archive', 's3://bucket/prefix', '--s3-path-style', '--repo', 'r']
    const endpoint = ['--s3-endpoint', `http://127.0.0.1:${silent.port}`]
    const env = { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' }
    const staging = ['--staging', join(t.testdir(), 'staging')]
    const running = new CommandLine(daemon.port, [command, ...store, ...endpoint, ...staging], env)
    await once(silent.server, 'connection')
    await stopped(t, running, 'SIGINT')
  })
