/** The pinned snapshot alone protects the client: nothing else holds the purger back. */
import t from 'tap'
import { seedOf } from './seed.ts'
import { survives } from './storm-checks.ts'

t.setTimeout(120_000)
const seed = seedOf(t)
const flags = ['--purge-hold-max', '0']

t.test('pin alone, with flow control', async t => {
  const result = await survives(t, { seed, flags, faults: 70, client: { bufferBytes: 131_072 } })
  t.ok(result.overtaken > 0, `purges passed the client ${result.overtaken} times`)
})

t.test('pin alone, without flow control, under an eager purger', async t => {
  const eager = [...flags, '--purge-age', '0', '--purge-interval', '50ms']
  await survives(t, { seed, flags: eager, faults: 60, client: { bufferBytes: 0 } })
})
