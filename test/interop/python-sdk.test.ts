/** Couchbase's official Python SDK, unmodified. */
import t from 'tap'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import { password, startTlsDaemon, tlsWords, user } from './programs/secured-daemon.ts'
import { programIn } from './programs/tool-chains.ts'

t.setTimeout(5 * 60_000)

t.test('the Python SDK does all it is known to do', async t => {
  const program = await programIn(t, 'python')
  if (program === undefined) return
  const daemon = await startTlsDaemon(t)
  const url = `couchbase://127.0.0.1:${daemon.port}`
  const words = [...program.words, url, user, password, ...tlsWords(daemon)]
  checkResults(t, 'python-sdk', await runProgram(program.command, words))
})
