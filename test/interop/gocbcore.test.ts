/** gocbcore, what Couchbase's Go SDK and connectors that follow DCP are built on, unmodified. */
import t from 'tap'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import { password, startSecuredDaemon, user } from './programs/secured-daemon.ts'
import { programIn } from './programs/tool-chains.ts'

t.setTimeout(5 * 60_000)

t.test('gocbcore does all it is known to do, with documents and streams', async t => {
  const program = await programIn(t, 'go')
  if (program === undefined) return
  const { port } = await startSecuredDaemon(t)
  const words = [...program.words, `127.0.0.1:${port}`, user, password]
  checkResults(t, 'gocbcore', await runProgram(program.command, words))
})
