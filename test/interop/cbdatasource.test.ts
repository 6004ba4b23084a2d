/** cbdatasource of go-couchbase, on which Couchbase's own indexers followed buckets, unmodified. */
import t from 'tap'
import { connectKv } from '../integration/clients.ts'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import { credentials, password, startSecuredDaemon, user } from './programs/secured-daemon.ts'
import { programIn } from './programs/tool-chains.ts'

t.setTimeout(5 * 60_000)

t.test('cbdatasource copies a bucket, and goes on from the state that it saved', async t => {
  const program = await programIn(t, 'goDatasource')
  if (program === undefined) return
  const daemon = await startSecuredDaemon(t)
  const kv = await connectKv(t, daemon, { credentials })
  const keys = Array.from({ length: 3_000 }, (_, index) => `key-${index}`)
  await Promise.all(keys.map(key => kv.set(key, `first ${key}`)))
  const change = () =>
    Promise.all([
      ...keys.slice(0, 100).map(key => kv.set(key, 'changed')),
      ...keys.slice(100, 150).map(key => kv.remove(key)),
    ])
  const words = [...program.words, `http://127.0.0.1:${daemon.httpPort}`, user, password]
  checkResults(t, 'cbdatasource', await runProgram(program.command, words, { onAsk: change }))
})
