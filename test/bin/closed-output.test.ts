import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { resolve } from 'node:path'
import t from 'tap'

const programs = resolve(import.meta.dirname, '../../bin')

/** Runs a program whose reader has gone before the first word, as `| head` may. */
async function unread(program: string, ...words: string[]) {
  const child = spawn(process.execPath, [resolve(programs, program), ...words], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  child.stdout.destroy()
  let complaint = ''
  child.stderr.on('data', (chunk: Buffer) => (complaint += chunk.toString()))
  const [exitCode] = (await once(child, 'close')) as [number | null]
  return { exitCode, complaint }
}

t.test('a reader who has enough is no failure', async t => {
  const calm = { exitCode: 0, complaint: '' }
  t.same(await unread('holdfastd.js', '--help'), calm)
  t.same(await unread('holdfastd.js', '--check-config'), calm)
  t.same(await unread('holdfast.js', '--help'), calm)
})
