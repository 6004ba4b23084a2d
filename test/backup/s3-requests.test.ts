import { once } from 'node:events'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { S3Store } from '../../src/backup/store/s3-store.ts'
import { Throttle } from '../../src/backup/throttle.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

t.test('of requests to S3 only so many go out, those that are repeated included', async t => {
  Object.assign(process.env, { AWS_ACCESS_KEY_ID: 'a', AWS_SECRET_ACCESS_KEY: 'b' })
  let requests = 0
  let status = 404
  const arrived = new EventTarget()
  const server = createServer((_request, response) => {
    requests++
    response.writeHead(status).end()
    arrived.dispatchEvent(new Event('request'))
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => server.close())
  const clock = new ManualClock()
  const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
  const store = new S3Store('bucket', '', {
    endpoint,
    pathStyle: true,
    requests: new Throttle(1, clock),
  })
  t.teardown(() => store.close())
  t.equal(await store.size('one'), undefined)
  t.equal(await store.size('two'), undefined)
  // Those were the one of now, and one that was saved up.
  const third = store.size('three')
  const fourth = store.size('four')
  let settled = 0
  void third.finally(() => settled++)
  void fourth.finally(() => settled++)
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve))
  t.equal(requests, 2)
  clock.advance(1000)
  await third
  t.same([requests, settled], [3, 1])
  clock.advance(1000)
  await fourth
  t.equal(requests, 4)

  status = 503
  clock.advance(60_000)
  const failing = store.size('five')
  failing.catch(() => {})
  for (let arrivals = 0; arrivals < 2; arrivals++) await once(arrived, 'request')
  // The repetition has taken what was saved up: nothing is left for another one.
  const waiting = store.size('six')
  waiting.catch(() => {})
  for (let turn = 0; turn < 50; turn++) await new Promise(resolve => setImmediate(resolve))
  t.equal(requests, 6)
})
