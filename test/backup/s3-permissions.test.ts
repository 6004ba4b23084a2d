/** A user of a real store who may not do all that backups need: what is missing is said, and nothing is lost. */
import { PutBucketPolicyCommand, S3Client } from '@aws-sdk/client-s3'
import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { runCommandLine } from '../cli/command-line.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { startRadosgw } from '../support/radosgw.ts'
import { writeDocuments } from './scene.ts'
import { collect } from './store-suite.ts'

const gateway = await startRadosgw(t)
Object.assign(process.env, gateway.environment)
const limited = await gateway.addUser('limited')
const daemon = await startDaemon(t, { flags: ['--vbuckets', '4'] })
const client = await KvClient.connect({ port: daemon.port })
t.teardown(() => client.close())
await writeDocuments(client, 0, 100)

const owner = new S3Client({ endpoint: gateway.endpoint, forcePathStyle: true })
const store = new S3Store(gateway.bucket, 'p', { pathStyle: true })
t.teardown(async () => {
  owner.destroy()
  await store.close()
})

interface Policy {
  Statement: { Effect: string; Action: string[]; Resource: string; Principal?: object }[]
}

/** What the documents say that a user needs. */
const document = readFileSync(resolve(import.meta.dirname, '../../../docs/backup.md'), 'utf8')
const documented = /```json\n(\{\s+"Version".*?)```/s.exec(document)![1]!

/** Lets the user do all that is needed but for one thing. */
async function allowAllBut(missing?: string): Promise<void> {
  const policy = JSON.parse(documented.replace('bucket/prefix', 'bucket/p')) as Policy
  for (const statement of policy.Statement) {
    statement.Action = statement.Action.filter(name => name !== `s3:${missing}`)
    statement.Resource = statement.Resource.replace('bucket', gateway.bucket)
    statement.Principal = { AWS: ['arn:aws:iam:::user/limited'] }
  }
  // What somebody has put is his own: he may read it as long as that is not forbidden.
  const forbidden = ['', '/*'].map(rest => ({
    Effect: 'Deny',
    Principal: { AWS: ['arn:aws:iam:::user/limited'] },
    Action: [`s3:${missing}`],
    Resource: `arn:aws:s3:::${gateway.bucket}${rest}`,
  }))
  if (missing !== undefined) policy.Statement.push(...forbidden)
  const Policy = JSON.stringify(policy)
  await owner.send(new PutBucketPolicyCommand({ Bucket: gateway.bucket, Policy }))
}

const run = (command: string[], ...words: string[]) => {
  const place = ['--archive', `s3://${gateway.bucket}/p`, '--s3-path-style']
  return runCommandLine(daemon.port, [...command, ...place, ...words], '', limited)
}
const backUp = (...words: string[]) =>
  run(['backup'], '--repo', 'r', '--staging', join(t.testdirName, 'staging'), ...words)
const refusedTo = (permission: string) =>
  new RegExp(`may not do that: they need the permission ${permission}`)

t.test('who may do what the documents say backs up, resumes, restores, removes', async t => {
  await allowAllBut()
  t.match(await run(['storage', 'check']), { code: 0, stdout: / 0 failed/ })
  t.match(await backUp(), { code: 0, stdout: /^000001-\S+ full: 100 mutations/ })
  t.match(await run(['verify'], '--repo', 'r'), { code: 0 })
  t.match(await run(['restore'], '--repo', 'r', '--staging', t.testdir()), { code: 0 })
  t.match(await run(['remove'], '--repo', 'r', '--from', '1'), { code: 0 })
  t.same(
    (await collect(store.list(''))).map(({ key }) => key),
    ['archive.json', 'r/repository.json'],
  )
})

t.test('whoever may not list uploads is told so before anything is streamed', async t => {
  await allowAllBut('ListBucketMultipartUploads')
  const refused = await backUp()
  t.match(refused, { code: 12, stderr: refusedTo('ListBucketMultipartUploads') })
  t.same(
    (await collect(store.list(''))).map(({ key }) => key),
    ['archive.json', 'r/repository.json'],
  )
  const checked = await run(['storage', 'check'])
  t.match(checked, { code: 14, stdout: /failed +list uploads .*ListBucketMultipartUploads/ })
  t.match(checked.stdout, /1 failed\nleft behind: perhaps uploads below|left behind: perhaps/)
  t.same(
    (await collect(store.list(''))).filter(({ key }) => key.startsWith('storage-check')),
    [],
  )
  t.same(await collect(store.listUploads('')), [])
})

t.test(
  'a permission that is taken away in between: what it cannot find is not left there',
  async t => {
    await allowAllBut()
    // Interrupted, with an upload that nobody knows any more.
    t.match(await backUp('--full'), { code: 0 })
    await store.createUpload('r/000002-20260102T030405Z/data/0000', randomUUID())
    await allowAllBut('ListBucketMultipartUploads')
    for (const words of [[], ['--resume'], ['--purge'], ['--full']])
      t.match(await backUp(...words), { code: 12, stderr: refusedTo('ListBucketMultipartUploads') })
    const removed = await run(['remove'], '--repo', 'r', '--backup', '1')
    t.match(removed, { code: 12, stderr: refusedTo('ListBucketMultipartUploads') })
    await allowAllBut()
    t.match(await backUp(), { code: 0, stdout: /full/ })
  },
)

t.test('each of the others is named when it is missing', async t => {
  for (const [permission, words, command] of [
    ['PutObject', ['--full'], ['backup']],
    ['GetObject', [], ['verify']],
    ['ListBucket', [], ['verify']],
    ['DeleteObject', ['--from', '1'], ['remove']],
  ] as const) {
    await allowAllBut(permission)
    const refused =
      command[0] === 'backup'
        ? await backUp(...words)
        : await run([...command], '--repo', 'r', ...words)
    t.match(refused, { code: 12, stderr: new RegExp(`permission .*${permission}`) }, permission)
  }
})
