import { strict as assert } from 'node:assert'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import t from 'tap'
import { OperatorError } from '../../src/errors.ts'
import { lockDataDirectory } from '../../src/storage/data-lock.ts'

t.test('a directory is held by one until it is released', async t => {
  const directory = join(t.testdir(), 'made', 'on the way')
  const lock = lockDataDirectory(directory)
  const error = t.throws(() => lockDataDirectory(directory), OperatorError) as OperatorError
  t.equal(error.code, 'data-in-use')
  t.match(error.message, `process ${process.pid}`)
  t.match(error.hint, '--data')
  lock.release()
  lock.release()
  t.same(readdirSync(directory), [])
  const again = lockDataDirectory(directory)
  lock.release()
  t.ok(existsSync(join(directory, 'LOCK')), 'an old lock does not release a new one')
  again.release()
})

t.test('the lock of a process that is gone is taken over', async t => {
  const directory = t.testdir()
  const path = join(directory, 'LOCK')
  const child = spawn(process.execPath, ['--version'], { stdio: 'ignore' })
  await once(child, 'exit')
  const stale = [
    JSON.stringify({ pid: child.pid, startedAt: '1' }),
    // The id is in use again, by a process that began at another time.
    JSON.stringify({ pid: process.pid, startedAt: '1' }),
    '',
    '{"pid":',
  ]
  for (const content of stale) {
    writeFileSync(path, content)
    const lock = lockDataDirectory(directory)
    t.match(JSON.parse(readFileSync(path, 'utf8')), { pid: process.pid })
    lock.release()
    t.same(readdirSync(directory), [])
  }
})

t.test('of many that come at once for a stale lock one gets it', async t => {
  const module = new URL('../../src/storage/data-lock.js', import.meta.url).href
  const script = `
    import { lockDataDirectory } from ${JSON.stringify(module)}
    import { readFileSync } from 'node:fs'
    while (Date.now() < Number(process.argv[2]));
    try {
      lockDataDirectory(process.argv[1])
      console.log('held')
      setTimeout(() => undefined, 60_000)
    } catch (error) {
      console.log(error.code)
    }`
  for (let round = 0; round < 3; round++) {
    const directory = t.testdir({ LOCK: '{"pid":999999999,"startedAt":"1"}' })
    const at = `${Date.now() + 800}`
    const children = Array.from({ length: 4 }, () =>
      spawn(process.execPath, ['--input-type=module', '-e', script, directory, at], {
        stdio: ['ignore', 'pipe', 'inherit'],
      }),
    )
    const exits = children.map(child => once(child, 'exit'))
    t.teardown(() => children.forEach(child => child.kill('SIGKILL')))
    const said = await Promise.all(
      children.map(async child => String((await once(child.stdout!, 'data'))[0]).trim()),
    )
    assert.deepEqual(said.sort(), ['data-in-use', 'data-in-use', 'data-in-use', 'held'])
    children.forEach(child => child.kill('SIGKILL'))
    await Promise.all(exits)
  }
  t.pass()
})

t.test('a directory that cannot be one, or not be written to, is refused', async t => {
  const directory = t.testdir({ file: 'text' })
  const codeOf = (path: string) => {
    const error = t.throws(() => lockDataDirectory(path), OperatorError) as OperatorError
    t.ok(error.hint)
    return error.code
  }
  t.equal(codeOf(join(directory, 'file')), 'no-directory')
  t.equal(codeOf(join(directory, 'file', 'below')), 'no-directory')
  // Nobody may make a directory there, not even root.
  t.equal(codeOf('/sys/holdfast'), 'not-writable')
})
