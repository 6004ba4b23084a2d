import t from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { runTool } from './tool.ts'

/** What memccapable knows about the binary protocol; one more or one less is a change to look at. */
const binaryTests = [
  'noop quit quitq set setq flush flushq add addq replace replaceq delete deleteq',
  'get getq getk getkq incr incrq decr decrq version append appendq prepend prependq stat',
].flatMap(names => names.split(' '))

async function check(port: number) {
  // Binary tests only, with what failed in which line, 10 s for each answer.
  const flags = ['-b', '-v', '-t', '10', '-h', '127.0.0.1', '-p', String(port)]
  const { code, stdout, stderr } = await runTool('memccapable', flags)
  const results = [...stdout.matchAll(/^binary (\w+)\s+\[(\w+)\]/gm)]
  return { code, output: stdout + stderr, results: results.map(([, name, how]) => [name, how]) }
}

t.test("memccapable's binary tests all pass", async t => {
  const { port } = await startDaemon(t)
  const { code, output, results } = await check(port)
  t.same(
    results,
    binaryTests.map(name => [name, 'pass']),
    output,
  )
  t.match(output, /^All tests passed$/m)
  t.equal(code, 0, output)
})

t.test('they also pass when every write is on disk before it is answered', async t => {
  const { port } = await startDaemon(t, { flags: ['--ack', 'disk'] })
  const { code, output, results } = await check(port)
  t.equal(results.filter(([, how]) => how === 'pass').length, binaryTests.length, output)
  t.equal(code, 0, output)
})
