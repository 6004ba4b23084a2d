/** A staging folder on a disk that is full: said as what it is, and nothing is lost by it. */
import { execFile } from 'node:child_process'
import { existsSync, mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { readIndependently } from './independent-reader.ts'
import { byKey, documentsOf, writeDocuments } from './scene.ts'

const program = resolve(import.meta.dirname, '../../bin/holdfast.js')
const daemon = await startDaemon(t, { flags: ['--vbuckets', '32'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await writeDocuments(client, 0, 1000)

// Beside the data of the daemon, which made the folder.
const folder = t.testdirName
const archive = join(folder, 'archive')
const staging = join(folder, 'staging')
const place = ['--archive', archive, '--repo', 'r', '--staging', staging]
/** A journal for each vbucket. */
const unpacked = ['--pack-below', '0']

/**
 * In a mount namespace of its own, where the staging folder is a disk of 64 KiB; what is written to it
 * is gone with it. The plan takes a page of it, and each journal one more.
 */
async function backUpOnFullDisk(...words: string[]): Promise<{ code: number; stderr: string }> {
  const mount = 'mount -t tmpfs -o size=64k tmpfs "$0" && exec "$@"'
  const command = [process.execPath, program, 'backup', ...place, ...unpacked, ...words]
  const inside = ['--user', '--map-root-user', '--mount', 'sh', '-c', mount, staging, ...command]
  const env = { PATH: process.env['PATH'], HOLDFAST_PORT: String(daemon.port) }
  return await promisify(execFile)('unshare', inside, { env }).then(
    ({ stderr }) => ({ code: 0, stderr }),
    ({ code, stderr }: { code: number; stderr: string }) => ({ code, stderr }),
  )
}

t.test(
  'full in the middle of the stream: exit code 12, and resumed with room it is whole',
  async t => {
    mkdirSync(staging)
    const full = await backUpOnFullDisk()
    t.equal(full.code, 12, full.stderr)
    t.match(full.stderr, /staging folder .*: ENOSPC/)
    t.notOk(existsSync(join(archive, 'r/lock.json')), 'the lock is given back')
    t.match(await runCommandLine(daemon.port, ['backup', ...place]), { code: 6 })

    await writeDocuments(client, 0, 10, 2)
    // Still full: nothing is lost by trying.
    t.match(await backUpOnFullDisk('--resume'), { code: 12, stderr: /ENOSPC/ })
    const resumed = await runCommandLine(daemon.port, ['backup', ...place, '--resume'])
    t.match(resumed, { code: 0, stdout: /^000001-\S+ full/ })
    t.match(resumed.stderr, /vbucket \d+: keep: /, 'what was uploaded is not asked for again')
    t.same(byKey(await readIndependently(archive, 'r')), await documentsOf(daemon.port))
  },
)

t.test('one that is a file: said before anything is done', async t => {
  await writeDocuments(client, 500, 700, 3)
  rmSync(staging, { recursive: true })
  writeFileSync(staging, '')
  const refused = await runCommandLine(daemon.port, ['backup', ...place])
  t.match(refused, { code: 12, stderr: /staging folder .*: ENOTDIR/ })
  rmSync(staging)
  const done = await runCommandLine(daemon.port, ['backup', ...place, '--purge'])
  t.match(done, { code: 0, stdout: /incremental/ })
  t.same(byKey(await readIndependently(archive, 'r')), await documentsOf(daemon.port))
})
