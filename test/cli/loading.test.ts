import { execFile } from 'node:child_process'
import { readdirSync, readFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'

const program = resolve(import.meta.dirname, '../../bin/holdfast.js')

/** The packages that `holdfast WORDS` loads: those of which Node.js tells how much of them was run. */
async function packagesOf(t: Test, words: readonly string[]): Promise<string[]> {
  const folder = t.testdir()
  const env = { PATH: process.env['PATH'], HOLDFAST_PORT: '1', NODE_V8_COVERAGE: folder }
  await new Promise<void>(done => {
    execFile(process.execPath, [program, ...words], { env }, () => done())
  })
  const urls = readdirSync(folder).flatMap(name => {
    const { result } = JSON.parse(readFileSync(join(folder, name), 'utf8')) as Coverage
    return result.map(({ url }) => url)
  })
  t.ok(urls.includes(pathToFileURL(program).href))
  const names = urls.map(url => /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)/.exec(url)?.[1])
  return [...new Set(names.filter(name => name !== undefined))].sort()
}

interface Coverage {
  readonly result: readonly { readonly url: string }[]
}

t.test('a command loads the packages that it needs, and no others', async t => {
  const archive = ['--archive', join(t.testdir(), 'archive')]
  const place = [...archive, '--repo', 'r']
  const metrics = ['--metrics-file', join(t.testdir(), 'no-folder', 'metrics')]
  const checksums = '@node-rs/crc32'
  const prometheus = ['@opentelemetry/api', 'bintrees', 'prom-client', 'tdigest']
  const needed: readonly (readonly [readonly string[], readonly string[]])[] = [
    [['--help'], []],
    [['backup', '--help'], []],
    [['get', 'k'], []],
    [['bucket', 'list'], []],
    [['stream'], []],
    [['user', 'list', '--data', t.testdir()], []],
    [
      ['info', ...archive],
      [checksums, 'zod'],
    ],
    [['unlock', ...place], ['zod']],
    [['remove', ...place, '--backup', '1'], ['zod']],
    [
      ['verify', ...place],
      [checksums, 'snappy', 'zod'],
    ],
    [
      ['verify', ...place, ...metrics],
      [checksums, ...prometheus, 'snappy', 'zod'],
    ],
    [
      ['backup', ...place],
      [checksums, 'snappy', 'zod'],
    ],
    [
      ['restore', ...place],
      [checksums, 're2js', 'snappy', 'zod'],
    ],
  ]
  for (const [words, packages] of needed) {
    await t.test(words.join(' ').replaceAll(t.testdir(), '.'), async t => {
      t.same(await packagesOf(t, words), ['commander', ...packages].sort())
    })
  }
})
