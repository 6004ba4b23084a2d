import memjs from 'memjs'
import t, { type Test } from 'tap'
import { startDaemon } from '../support/start-daemon.ts'

/** Of a client that answers wait for at most these seconds. */
const patient = { timeout: 20, conntimeout: 20, retries: 1 }

async function connect(t: Test, credentials = '') {
  const { port } = await startDaemon(t)
  const client = memjs.Client.create(`${credentials}127.0.0.1:${port}`, patient)
  t.teardown(() => client.close())
  return client
}

for (const [how, credentials] of [
  ['without credentials', ''],
  ['having authenticated by SASL PLAIN', 'user:password@'],
] as const) {
  t.test(`memjs does all it can do, ${how}`, async t => {
    const client = await connect(t, credentials)
    const read = async (key: string) => (await client.get(key)).value?.toString() ?? null
    t.equal(await read('k'), null)
    t.equal(await client.set('k', 'one', { expires: 600 }), true)
    t.equal(await read('k'), 'one')
    t.equal(await client.add('k', 'two', {}), false, 'add does not overwrite')
    t.equal(await client.add('other', 'x', {}), true)
    t.equal(await client.replace('k', 'three', {}), true)
    t.equal(await client.replace('none', 'x', {}), false, 'replace does not create')
    t.equal(await client.append('k', '!'), true)
    t.equal(await read('k'), 'three!')
    t.equal(await client.touch('k', 300), true)
    t.equal(await client.delete('k'), true)
    t.equal(await client.delete('k'), false)
    t.equal(await read('k'), null)
  })
}

t.test('memjs counts', async t => {
  const client = await connect(t)
  const { value: first } = await client.increment('n', 5, { initial: 10 })
  t.equal(first, 10)
  t.equal((await client.increment('n', 5, {})).value, 15)
  t.equal((await client.decrement('n', 1, {})).value, 14)
})

t.test('memjs gets values of many sizes back', async t => {
  const client = await connect(t)
  for (const bytes of [0, 1, 4095, 65_536, 1_000_000]) {
    const value = Buffer.alloc(bytes, 'x')
    await client.set(`of ${bytes}`, value, {})
    const found = (await client.get(`of ${bytes}`)).value
    t.ok(found?.equals(value), `${bytes} bytes`)
  }
})

t.test('memjs reads statistics and flushes', async t => {
  const client = await connect(t)
  await client.set('k', 'v', {})
  const stats = await new Promise<Record<string, string>>((resolve, reject) => {
    client.stats((error, _server, found) =>
      error ? reject(error) : resolve(found as Record<string, string>),
    )
  })
  t.equal(stats['curr_items'], '1')
  t.equal(stats['cmd_set'], '1')
  await new Promise<void>((resolve, reject) => {
    client.flush(error => (error ? reject(error) : resolve()))
  })
  t.equal((await client.get('k')).value, null)
})
