/**
 * The frames of a Go client's change-stream agent (gocbcore), byte by byte and in its order. Each
 * answer is one that it goes on after; the steps that it gives up on are named in the tests.
 */
import t, { type Test } from 'tap'
import { startDaemon } from '../support/start-daemon.ts'
import { RawClient, text, type RawFrame } from './raw-client.ts'

// Columns: magic, opcode, key length | extras length, datatype, vbucket | body length | opaque | cas
const noCas = '00000000 00000000'

/** In its order; 000a and 0013 are compression, 0012 collections. */
const asked =
  '0002 0006 0008 001e 001d 000c 0007 000b 000a 0013 0012 0010 0017 0019 0014 001c 0011'.split(' ')
const needed = ['0006', '0008', '000b', '0010']

const hello = `
  80 1f 0018  00 00 0000  0000003a  00000001 ${noCas}
  ${text('{"a":"gocbcore/v10.9.1"}')}
  ${asked.join(' ')}`
const getErrorMap = `80 fe 0000  00 00 0000  00000002  00000002 ${noCas}  0002`
const listMechanisms = `80 20 0000  00 00 0000  00000000  00000003 ${noCas}`
const authenticate = `
  80 21 0005  00 00 0000  00000010  00000004 ${noCas}
  ${text('PLAIN')} 00 ${text('user')} 00 ${text('pass!')}`
const selectBucket = `80 89 0007  00 00 0000  00000007  00000005 ${noCas}  ${text('default')}`
const getClusterConfig = `80 b5 0000  00 00 0000  00000000  00000006 ${noCas}`
const openProducer = `
  80 50 000c  08 00 0000  00000014  00000007 ${noCas}
  00000000 00000001 // always 0, flags: producer
  ${text('probe-stream')}`

/** DCP_CONTROL with short names and values. */
function control(name: string, value: string, opaque: string): string {
  const hex = (number: number, digits: number) => number.toString(16).padStart(digits, '0')
  const bodyLength = hex(name.length + value.length, 8)
  return `80 5e ${hex(name.length, 4)}  00 00 0000  ${bodyLength}  ${opaque} ${noCas}
    ${text(name)} ${text(value)}`
}

/** SET of `key` (one byte) to `value` (two) in vbucket 3. */
const setIn3 = (key: string, value: string) => `
  80 01 0001  08 00 0003  0000000b  0000aaaa ${noCas}
  00000000 00000000  ${text(key)} ${text(value)}`

const deleteIn3 = (key: string) =>
  `80 04 0001  00 00 0003  00000001  0000aaab ${noCas} ${text(key)}`

function okay(t: Test, answer: RawFrame, opcode: number, opaque: number): void {
  const { magic, status } = answer
  t.match(
    { magic, opcode: answer.opcode, status, opaque: answer.opaque },
    { magic: 0x81, opcode, status: 0, opaque },
    `opcode 0x${opcode.toString(16)}: ${answer.value.toString('latin1').slice(0, 200)}`,
  )
}

async function bootstrap(t: Test, port: number): Promise<RawClient> {
  const client = await RawClient.connect(t, port)
  client.send(hello, getErrorMap, listMechanisms, authenticate)

  const greeting = await client.next()
  okay(t, greeting, 0x1f, 1)
  const granted: string[] = greeting.value.toString('hex').match(/..../g) ?? []
  t.ok(
    needed.every(feature => granted.includes(feature)),
    `granted: ${granted.join(' ')}`,
  )
  t.ok(
    granted.every(feature => asked.includes(feature)),
    'and nothing it did not ask for',
  )

  const errors = await client.next()
  okay(t, errors, 0xfe, 2)
  const { version, revision, errors: meanings } = JSON.parse(errors.value.toString())
  t.equal(version, 2)
  t.type(revision, 'number')
  t.match(meanings['23'], { name: String, desc: String, attrs: [String] })

  const mechanisms = await client.next()
  okay(t, mechanisms, 0x20, 3)
  t.ok(mechanisms.value.toString().split(' ').includes('PLAIN'))
  okay(t, await client.next(), 0x21, 4)

  okay(t, await client.call(selectBucket), 0x89, 5)
  return client
}

async function openForStreams(t: Test, port: number): Promise<RawClient> {
  const client = await bootstrap(t, port)
  okay(t, await client.call(getClusterConfig), 0xb5, 6)
  okay(t, await client.call(openProducer), 0x50, 7)
  return client
}

t.test('the cluster map has all without which it is taken for no map', async t => {
  const { port, httpPort } = await startDaemon(t)
  const client = await bootstrap(t, port)
  const answer = await client.call(getClusterConfig)
  okay(t, answer, 0xb5, 6)
  t.equal(answer.datatype, 1, 'it says that it is JSON')
  const map = JSON.parse(answer.value.toString())
  t.match(map, { name: 'default', nodeLocator: 'vbucket', rev: Number, revEpoch: Number })
  t.match(map.nodesExt[0], { services: { kv: port, mgmt: httpPort }, thisNode: true })
  t.match(map.nodes[0], { hostname: `$HOST:${httpPort}`, ports: { direct: port } })
  t.same(map.vBucketServerMap.serverList, [`$HOST:${port}`])
  t.equal(map.vBucketServerMap.vBucketMap.length, 1024)
})

t.test('it opens a producer and sets what it always sets, or would give up', async t => {
  const { port } = await startDaemon(t)
  const client = await openForStreams(t, port)
  const settings = [
    ['enable_noop', 'true'],
    ['set_noop_interval', '180'],
    ['set_priority', 'low'],
    ['enable_expiry_opcode', 'true'],
    ['backfill_order', 'round-robin'],
    ['connection_buffer_size', '20971520'],
    ['max_marker_version', '2.2'],
    ['send_stream_end_on_client_close_stream', 'true'],
  ] as const
  for (const [index, [name, value]] of settings.entries()) {
    const answer = await client.call(control(name, value, `0000010${index}`))
    okay(t, answer, 0x5e, 0x100 + index)
  }
  const unknown = await client.call(control('no_such_control', 'true', '00000200'))
  t.equal(unknown.status, 0x04, 'an unknown control is what tells a client that it is unknown')
})

t.test('a stream of a vbucket, from its first change to its latest', async t => {
  const { port } = await startDaemon(t)
  const writer = await RawClient.connect(t, port)
  okay(t, await writer.call(setIn3('a', 'v1')), 0x01, 0xaaaa)
  okay(t, await writer.call(setIn3('b', 'v2')), 0x01, 0xaaaa)
  okay(t, await writer.call(deleteIn3('a')), 0x04, 0xaaab)

  const client = await openForStreams(t, port)
  okay(t, await client.call(control('connection_buffer_size', '20971520', '00000101')), 0x5e, 0x101)
  const stream = await client.call(`
    80 53 0000  30 00 0003  00000032  0000cafe ${noCas}
    00000080 00000000   // flags: ignore purged tombstones
    0000000000000000    // start
    0000000000000003    // end
    0000000000000000    // vbucket uuid
    0000000000000000    // snapshot start
    0000000000000000    // snapshot end
    ${text('{}')}`)
  okay(t, stream, 0x53, 0xcafe)
  t.equal(stream.value.length, 16, 'a failover log of one entry')
  t.equal(stream.value.readBigUInt64BE(8), 0n)

  const marker = await client.next()
  t.match(marker, { magic: 0x80, opcode: 0x56, status: 3, opaque: 0xcafe })
  t.same(marker.extras.subarray(0, 16), Buffer.from('00000000000000000000000000000003', 'hex'))

  const changes = [await client.next(), await client.next()]
  const [set, deletion] = changes
  t.match(set, { magic: 0x80, opcode: 0x57, status: 3, opaque: 0xcafe })
  t.equal(set!.key.toString(), '\0b', 'behind the number of its collection')
  t.equal(set!.value.toString(), 'v2')
  t.equal(set!.extras.length, 31)
  t.equal(set!.extras.readBigUInt64BE(0), 2n, 'its seqno')
  t.match(deletion, { magic: 0x80, opcode: 0x58, status: 3, opaque: 0xcafe })
  t.equal(deletion!.key.toString(), '\0a')
  t.equal(deletion!.extras.length, 18, 'nobody asked for delete times')
  t.equal(deletion!.extras.readBigUInt64BE(0), 3n)

  const end = await client.next()
  t.match(end, { magic: 0x80, opcode: 0x55, status: 3, opaque: 0xcafe })
  t.same(end.extras, Buffer.from('00000000', 'hex'), 'it is complete')
})

t.test('a live stream, an acknowledgement without an answer, and a closed stream', async t => {
  const { port } = await startDaemon(t)
  const writer = await RawClient.connect(t, port)
  const client = await openForStreams(t, port)
  const closing = control('send_stream_end_on_client_close_stream', 'true', '00000102')
  okay(t, await client.call(control('connection_buffer_size', '20971520', '00000101')), 0x5e, 0x101)
  okay(t, await client.call(closing), 0x5e, 0x102)

  const failoverLog = await client.call(`80 96 0000 00 00 0003 00000000 0000000b ${noCas}`)
  okay(t, failoverLog, 0x96, 0xb)
  const uuid = failoverLog.value.subarray(0, 8).toString('hex')
  const stream = await client.call(`
    80 53 0000  30 00 0003  00000032  0000cafe ${noCas}
    00000080 00000000
    0000000000000000  ffffffffffffffff  ${uuid}  0000000000000000 0000000000000000
    ${text('{}')}`)
  okay(t, stream, 0x53, 0xcafe)
  t.same(stream.value, failoverLog.value)

  okay(t, await writer.call(setIn3('k', 'v1')), 0x01, 0xaaaa)
  const marker = await client.next()
  t.match(marker, { opcode: 0x56, opaque: 0xcafe })
  const mutation = await client.next()
  t.match(mutation, { opcode: 0x57, opaque: 0xcafe })
  t.equal(mutation.value.toString(), 'v1')

  client.send(`80 5d 0000 04 00 0000 00000004 0000000c ${noCas} 00000080`)
  okay(t, await client.call(`80 0a 0000 00 00 0000 00000000 0000000d ${noCas}`), 0x0a, 0xd)
  client.send(`80 52 0000 00 00 0003 00000000 0000cafe ${noCas}`)
  const closed = await client.next()
  okay(t, closed, 0x52, 0xcafe)
  const end = await client.next()
  t.match(end, { magic: 0x80, opcode: 0x55, opaque: 0xcafe })
  t.equal(end.extras.readUInt32BE(0), 1, 'closed')
  t.equal(client.waiting, 0)
})
