/** Couchbase's official Node SDK, unmodified. */
import { join } from 'node:path'
import t from 'tap'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import {
  password,
  startSecuredDaemon,
  startTlsDaemon,
  tlsWords,
  user,
} from './programs/secured-daemon.ts'

t.setTimeout(5 * 60_000)

const program = join(import.meta.dirname, 'programs/node-sdk.js')

t.test('the Node SDK does all it is known to do', async t => {
  const first = await startTlsDaemon(t)
  const url = `couchbase://127.0.0.1:${first.port}`
  const results = await runProgram(
    process.execPath,
    [program, url, user, password, ...tlsWords(first)],
    {
      // Asked for in the middle of a load.
      onAsk: async () => {
        t.equal(await first.stop(), 0)
        const flags = ['--port', String(first.port), '--http-port', String(first.httpPort)]
        await startSecuredDaemon(t, { data: first.data, flags })
      },
    },
  )
  checkResults(t, 'node-sdk', results)
})
