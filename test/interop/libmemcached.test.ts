import { randomBytes } from 'node:crypto'
import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'
import { runTool } from './tool.ts'

t.test('memccp stores files, and memccat brings them back', async t => {
  const files = {
    'letter.txt': 'Dear database,\nhold this.\n',
    'noise.bin': randomBytes(500_000),
    'empty.txt': '',
  }
  const folder = t.testdir({})
  for (const [name, content] of Object.entries(files)) writeFileSync(join(folder, name), content)
  const { port } = await startDaemon(t, { data: join(folder, 'data') })
  const common = ['--binary', `--servers=127.0.0.1:${port}`]

  const stored = await runTool('memccp', [...common, '--flags=7', ...Object.keys(files)], {
    cwd: folder,
  })
  t.equal(stored.code, 0, stored.stdout + stored.stderr)
  for (const [name, content] of Object.entries(files)) {
    const copy = `${name}.copy`
    const read = await runTool('memccat', [...common, `--file=${copy}`, name], { cwd: folder })
    t.equal(read.code, 0, read.stdout + read.stderr)
    t.ok(readFileSync(join(folder, copy)).equals(Buffer.from(content)), `${name} is unchanged`)
  }

  const client = await KvClient.connect({ port, vbucketCount: 1 })
  t.teardown(() => client.close())
  t.equal((await client.get('letter.txt'))?.flags, 7, 'the flags are kept as well')
  const none = await runTool('memccat', [...common, 'no-such-file'])
  t.not(none.code, 0, 'a miss is told from an empty file')
})
