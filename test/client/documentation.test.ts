import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t from 'tap'
import { KvClient } from '../../src/client/index.ts'
import { startDaemon } from '../support/start-daemon.ts'

/** Every TypeScript example of the documentation runs as it stands, but for the port. */
const text = readFileSync(resolve(import.meta.dirname, '../../../docs/client.md'), 'utf8')
const examples = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(match => match[1]!)

const daemon = await startDaemon(t, { flags: ['--vbuckets', '16'] })
const client = await KvClient.connect({ port: daemon.port })
await client.set('something', 'to see')
await client.close()

t.ok(examples.length >= 4)
for (const [index, example] of examples.entries()) {
  const title = example.split('\n').find(line => line.includes('connect'))
  t.test(`example ${index + 1}: ${title?.trim()}`, async t => {
    const folder = t.testdir()
    const file = join(folder, 'example.mjs')
    writeFileSync(file, example.replaceAll('11210', String(daemon.port)))
    const child = spawn(process.execPath, [file], { cwd: folder })
    let stdout = ''
    let stderr = ''
    child.stdout.on('data', (chunk: Buffer) => (stdout += chunk.toString()))
    child.stderr.on('data', (chunk: Buffer) => (stderr += chunk.toString()))
    // A stream without an end is stopped when it has had time to fail.
    const isEndless = example.includes('for await') && !example.includes('until:')
    if (isEndless) setTimeout(() => child.kill(), 1_500)
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    t.equal(stderr, '')
    t.equal(signal ?? code, isEndless ? 'SIGTERM' : 0)
    if (example.includes('console.log')) t.not(stdout, '')
  })
}
