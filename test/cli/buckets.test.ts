import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { runCommandLine } from './command-line.ts'

// Each command is a process of its own.
t.setTimeout(120_000)

const daemon = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const run = (...words: string[]) => runCommandLine(daemon.port, words)
const done = { code: 0, stdout: '', stderr: '' }

t.test('buckets are made, listed, flushed and removed', async t => {
  const shape = ['--vbuckets', '4', '--quota', '1KiB', '--flush-enabled']
  t.match(await run('bucket', 'create', 'travel', ...shape), done)
  t.match(await run('bucket', 'create', 'kept'), done)
  t.match(await run('bucket', 'list'), { ...done, stdout: 'default\nkept\ntravel' })
  const page = await fetch(`http://127.0.0.1:${daemon.httpPort}/pools/default/buckets/travel`)
  t.match(await page.json(), { numVBuckets: 4, quota: { rawRAM: 1024 } })

  for (const bucket of ['travel', 'kept']) {
    t.match(await run('-b', bucket, 'set', 'key', 'value'), done)
  }
  t.match(await run('-b', 'travel', 'set', 'more', 'x'.repeat(1018)), {
    code: 1,
    stderr: /temporaryFailure/,
  })
  t.match(await run('bucket', 'show', 'travel'), {
    code: 0,
    stdout: /^documents +1\nbytes +9 .*\nquota +1024 \(1.0 KiB, 0 % used\)\nrefused +[1-9]/,
  })
  t.match(await run('bucket', 'show', 'kept'), { code: 0, stdout: /\nquota +none\n/ })
  t.match(await run('bucket', 'flush', 'travel'), done)
  t.match(await run('-b', 'travel', 'get', 'key'), { code: 1 })
  t.match(await run('bucket', 'flush', 'kept'), { code: 1, stderr: /flush is disabled/ })
  t.match(await run('-b', 'kept', 'get', 'key'), { code: 0, stdout: 'value' })

  t.match(await run('bucket', 'delete', 'travel'), done)
  t.match(await run('bucket', 'delete', 'travel'), { code: 1, stderr: /no bucket travel/ })
  t.match(await run('bucket', 'list'), { ...done, stdout: 'default\nkept' })
})

t.test('what cannot be a bucket is told in one line', async t => {
  t.match(await run('bucket', 'create', 'kept'), { code: 1, stderr: /keyExists/ })
  t.match(await run('bucket', 'create', '../up'), { code: 1, stderr: /no name for a bucket/ })
  for (const shape of [['--vbuckets', '0'], ['--quota', 'much'], ['--nonsense']]) {
    t.match(await run('bucket', 'create', 'other', ...shape), { code: 2 })
  }
  t.match(await run('bucket', 'create', 'other', '--vbuckets', '3'), { code: 1 })
})
