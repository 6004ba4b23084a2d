/** gocbcore, what Couchbase's Go SDK and connectors that follow DCP are built on, unmodified. */
import t from 'tap'
import { CollectionManager } from '../../src/client/index.ts'
import { connectKv } from '../integration/clients.ts'
import { checkResults } from './programs/results.ts'
import { runProgram } from './programs/run.ts'
import { credentials, password, startSecuredDaemon, user } from './programs/secured-daemon.ts'
import { programIn } from './programs/tool-chains.ts'

t.setTimeout(5 * 60_000)

t.test('gocbcore does all it is known to do, with documents and streams', async t => {
  const program = await programIn(t, 'go')
  if (program === undefined) return
  const daemon = await startSecuredDaemon(t)
  const { port } = daemon
  const manager = new CollectionManager(await connectKv(t, daemon, { credentials }))
  await manager.createScope('go')
  await manager.createCollection('go.orders')
  await manager.createCollection('go.baskets')
  const words = [...program.words, `127.0.0.1:${port}`, user, password]
  checkResults(t, 'gocbcore', await runProgram(program.command, words))
})
