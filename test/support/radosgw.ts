import { execFile, spawn, type ChildProcess } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { CreateBucketCommand, S3Client } from '@aws-sdk/client-s3'
import type { Test } from 'tap'

const execute = promisify(execFile)

/** That it is not installed is a failure: a check that is silently left out is none. */
async function run(program: string, words: readonly string[], options = {}): Promise<void> {
  try {
    await execute(program, words, options)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOENT') throw error
    const packages = 'radosgw ceph-mon ceph-osd ceph-common'
    const advice = `${program} is not installed: apt-get install ${packages}, as .ci/run does`
    throw new Error(advice, { cause: error })
  }
}

export interface Radosgw {
  readonly endpoint: string
  readonly bucket: string
  /** For the SDK, in this process or another one. */
  readonly environment: Record<string, string>
  /** Makes a user who may do what the bucket's policy allows, and answers with the environment of one. */
  addUser(name: string): Promise<Record<string, string>>
}

const credentials = { accessKeyId: 'test-key', secretAccessKey: 'test-secret' }
const deadlineMs = 90_000

/**
 * Ceph's S3 gateway on loopback: a monitor, one object store in memory, the gateway. Everything is a
 * child of this process and lies in one temporary folder; both are gone when the test ends.
 */
export async function startRadosgw(
  test: Pick<Test, 'teardown'>,
  options: { partBytesMin?: number } = {},
): Promise<Radosgw> {
  // Short, as there are sockets in it.
  const folder = mkdtempSync(join(tmpdir(), 'rgw-'))
  const children: ChildProcess[] = []
  test.teardown(async () => {
    await Promise.all(children.map(child => killed(child)))
    rmSync(folder, { recursive: true, force: true })
  })
  for (const name of ['mon', 'osd', 'run']) mkdirSync(join(folder, name))
  const [monitorPort, gatewayPort] = [await freePort(), await freePort()]
  const monitor = `v2:127.0.0.1:${monitorPort}`
  const configuration = join(folder, 'ceph.conf')
  const fsid = randomUUID()
  const partBytesMin = options.partBytesMin ?? 5 * 1024 * 1024
  writeFileSync(configuration, cephConf({ folder, monitor, fsid, gatewayPort, partBytesMin }))

  const conf = ['-c', configuration]
  const start = (program: string, ...words: string[]) => {
    const child = spawn(program, ['-f', ...words, ...conf], { stdio: 'ignore' })
    children.push(child)
  }
  const keyring = join(folder, 'keyring')
  for (const [name, capabilities] of keys) {
    const created = name === 'mon.' ? ['--create-keyring'] : []
    await run('ceph-authtool', [...created, keyring, '--gen-key', '-n', name, ...capabilities])
  }
  const map = join(folder, 'monmap')
  await run('monmaptool', ['--create', '--addv', 'a', `[${monitor}]`, '--fsid', fsid, map])
  await run('ceph-mon', ['--mkfs', '-i', 'a', '--monmap', map, '--keyring', keyring, ...conf])
  start('ceph-mon', '-i', 'a')
  const osd = randomUUID()
  await run('ceph', [...conf, 'osd', 'new', osd], { timeout: deadlineMs })
  await run('ceph-osd', ['-i', '0', '--mkfs', '--osd-uuid', osd, ...conf])
  start('ceph-osd', '-i', '0')
  start('radosgw', '-n', 'client.rgw')
  const endpoint = `http://127.0.0.1:${gatewayPort}`
  await untilAnswers(endpoint)
  const makeUser = async (name: string, { accessKeyId, secretAccessKey } = credentials) => {
    const names = ['--uid', name, '--display-name', name]
    const secrets = ['--access-key', accessKeyId, '--secret', secretAccessKey]
    const words = ['-n', 'client.rgw', 'user', 'create', ...names, ...secrets, ...conf]
    await run('radosgw-admin', words, { timeout: deadlineMs })
  }
  await makeUser('test')
  const bucket = 'backups'
  const client = new S3Client({ endpoint, region: 'us-east-1', forcePathStyle: true, credentials })
  await client.send(new CreateBucketCommand({ Bucket: bucket }))
  client.destroy()
  const addUser = async (name: string) => {
    const own = { accessKeyId: `${name}-key`, secretAccessKey: `${name}-secret` }
    await makeUser(name, own)
    return environmentOf(endpoint, own)
  }
  return { endpoint, bucket, environment: environmentOf(endpoint), addUser }
}

function environmentOf(
  endpoint: string,
  { accessKeyId, secretAccessKey } = credentials,
): Record<string, string> {
  return {
    AWS_ACCESS_KEY_ID: accessKeyId,
    AWS_SECRET_ACCESS_KEY: secretAccessKey,
    AWS_ENDPOINT_URL_S3: endpoint,
    AWS_REGION: 'us-east-1',
  }
}

const keys: readonly (readonly [string, readonly string[]])[] = [
  ['mon.', ['--cap', 'mon', 'allow *']],
  [
    'client.admin',
    ['--cap', 'mon', 'allow *', '--cap', 'osd', 'allow *', '--cap', 'mgr', 'allow *'],
  ],
  ['osd.0', ['--cap', 'mon', 'allow profile osd', '--cap', 'osd', 'allow *']],
  ['client.rgw', ['--cap', 'mon', 'allow rw', '--cap', 'osd', 'allow rwx']],
]

function cephConf(options: {
  folder: string
  monitor: string
  fsid: string
  gatewayPort: number
  partBytesMin: number
}): string {
  const { folder, monitor, fsid, gatewayPort, partBytesMin } = options
  return `[global]
fsid = ${fsid}
mon host = [${monitor}]
auth cluster required = cephx
auth service required = cephx
auth client required = cephx
keyring = ${folder}/keyring
run dir = ${folder}/run
admin socket =
log to file = false
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 2
osd pool default pgp num = 2
osd pool default pg autoscale mode = off
mon allow pool size one = true
mon max pg per osd = 1000
osd crush chooseleaf type = 0
ms bind ipv6 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
[mon.a]
mon data = ${folder}/mon
[osd]
osd data = ${folder}/osd
osd objectstore = memstore
memstore device bytes = 2147483648
[client.rgw]
rgw frontends = beast endpoint=127.0.0.1:${gatewayPort} tcp_nodelay=1
rgw multipart min part size = ${partBytesMin}
`
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function untilAnswers(endpoint: string): Promise<void> {
  const end = performance.now() + deadlineMs
  for (;;) {
    try {
      await (await fetch(endpoint)).text()
      return
    } catch (error) {
      if (performance.now() > end) throw error
      await new Promise(resolve => setTimeout(resolve, 200))
    }
  }
}

async function killed(child: ChildProcess): Promise<void> {
  if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) return
  const closed = once(child, 'close')
  child.kill('SIGKILL')
  await closed
}
