import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { join } from 'node:path'
import t from 'tap'
import { seedOf } from '../resume/seed.ts'
import { checkStore } from '../support/check-store.ts'

/** Longer with `COMMANDS=20000 SEED=7 node dist/test/model/model.test.js`. */
const commands = process.env['COMMANDS'] ?? '700'
// For slow machines; and as long as it takes when more than usual is asked for.
t.setTimeout(120_000 + 100 * Number(commands))

t.test('a bucket does what its model does, across clean stops and kills', async t => {
  const seed = seedOf(t)
  const directory = t.testdir()
  const data = join(directory, 'data')
  const runner = join(import.meta.dirname, 'runner.js')
  for (let run = 0; run < 10; run++) {
    const ending = run % 3 === 2 ? 'close' : 'kill'
    const options = [data, join(directory, 'journal'), `${seed * 100 + run}`, commands, ending]
    const child = spawn(process.execPath, [runner, ...options], {
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    t.teardown(() => child.kill('SIGKILL'))
    let stderr = ''
    child.stderr.on('data', text => (stderr += text))
    const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
    const ended = ending === 'kill' ? signal === 'SIGKILL' : code === 0
    if (!t.ok(ended, `run ${run} ends by ${ending}`, { stderr })) return
    if (ending === 'close') t.same(await checkStore(data), [])
  }
})
