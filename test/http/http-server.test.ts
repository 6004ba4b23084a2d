import t, { type Test } from 'tap'
import { HttpServer, type HttpPages } from '../../src/http/http-server.ts'
import { accessTo } from '../support/access.ts'
import { silentLog } from '../../src/log.ts'
import { version } from '../../src/version.ts'

/** Starts a server with these pages; answers for a path come as status and body. */
async function start(t: Test, pages: Partial<HttpPages> = {}) {
  const server = new HttpServer(
    {
      unreadiness: () => undefined,
      metrics: async () => 'holdfast_test 1\n',
      metricsContentType: 'text/plain; version=0.0.4',
      access: () => accessTo(t),
      node: () => undefined,
      mapStreamsMax: 1,
      connectionLimits: { connectionsMax: 100 },
      ...pages,
    },
    silentLog,
  )
  t.teardown(() => server.close())
  const { port } = await server.listen('127.0.0.1', 0)
  return async (path: string, init?: RequestInit) => {
    const response = await fetch(`http://127.0.0.1:${port}${path}`, init)
    const text = await response.text()
    return { status: response.status, type: response.headers.get('content-type'), text }
  }
}

t.test('the root page names the program and its version', async t => {
  const get = await start(t)
  const { status, text } = await get('/')
  t.equal(status, 200)
  t.same(JSON.parse(text), { name: 'holdfast', version })
})

t.test('a daemon that cannot serve is healthy but not ready, and says why', async t => {
  let reason: string | undefined = 'stopping'
  const get = await start(t, { unreadiness: () => reason })
  t.equal((await get('/healthz')).status, 200)
  const refused = await get('/readyz')
  t.equal(refused.status, 503)
  t.same(JSON.parse(refused.text), { status: 'not ready', reason: 'stopping' })
  reason = undefined
  t.equal((await get('/readyz')).status, 200)
})

t.test('metrics come in the format that Prometheus expects', async t => {
  const get = await start(t)
  const { status, type, text } = await get('/metrics')
  t.equal(status, 200)
  t.match(type, /^text\/plain; version=0\.0\.4/)
  t.equal(text, 'holdfast_test 1\n')
})

t.test('an unknown page is 404, a page that fails is 500, and the server goes on', async t => {
  const get = await start(t, { metrics: () => Promise.reject(new Error('no figures')) })
  t.equal((await get('/nothing')).status, 404)
  const failed = await get('/metrics')
  t.equal(failed.status, 500)
  t.same(JSON.parse(failed.text), { error: 'no figures' })
  t.equal((await get('/healthz')).status, 200)
})

t.test('a body that nobody asked for is refused beyond a bound', async t => {
  const get = await start(t)
  const { status } = await get('/healthz', { method: 'POST', body: 'x'.repeat(100_000) })
  t.ok(status === 404 || status === 413, `refused with ${status}`)
})
