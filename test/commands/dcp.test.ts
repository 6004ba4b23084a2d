import t from 'tap'
import { encodeUint32Extras } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { encodeRequest, encodeResponse } from '../../protocol/requests.ts'
import { Status } from '../../protocol/status.ts'
import type { DcpOutput } from '../../src/dcp/output.ts'
import type { StreamAnswer, StreamAsker } from '../../src/dcp/stream-answer.ts'
import { StatusError } from '../../src/errors.ts'
import { eventually, serve, type Served } from '../server/harness.ts'

const open = {
  opcode: Opcode.dcpOpen,
  key: 'a stream',
  extras: Buffer.of(0, 0, 0, 0, 0, 0, 0, 1),
}
const streamRequest = { opcode: Opcode.dcpStreamRequest, vbid: 3, extras: Buffer.alloc(48) }

/** Stands in for the streams: notes what it is told, and answers what the test says. */
function scriptProducer({ dcp }: Served) {
  const calls: unknown[][] = []
  const answers: ((answer: StreamAnswer | Error) => void)[] = []
  const note =
    <Result>(name: string, result?: Result) =>
    (...args: unknown[]) => {
      calls.push([name, ...args])
      return result
    }
  dcp.producer = {
    control(key: string, value: string) {
      calls.push(['control', key, value])
      return key === 'known' ? Status.success : Status.invalidArguments
    },
    streamRequest(request: object, asker: StreamAsker) {
      calls.push(['streamRequest', request])
      answers.push(answer => (answer instanceof Error ? asker.fail(answer) : asker.reply(answer)))
    },
    closeStream: (vbid: number) => (vbid === 3 ? Status.success : Status.keyNotFound),
    bufferAcknowledge: note('bufferAcknowledge'),
    noopAnswered: note('noopAnswered'),
    failoverLog: note('failoverLog', { status: 0, value: Buffer.alloc(16) }),
    disconnected: note('disconnected'),
  }
  const output = () => (dcp.opened[0] as { output: DcpOutput }).output
  return { calls, answers, output }
}

t.test('a connection becomes one for streams once, and by a name', async t => {
  const served = await serve(t)
  scriptProducer(served)
  const one = await served.client()
  t.equal((await one.call(streamRequest)).status, Status.invalidArguments)
  t.equal((await one.call({ ...open, key: '' })).status, Status.invalidArguments)
  t.equal((await one.call(open)).status, Status.success)
  t.match(served.dcp.opened[0], { name: 'a stream', flags: 1, user: '', bucket: served.bucket })
  t.equal((await one.call(open)).status, Status.invalidArguments)
  served.dcp.open = () => {
    throw new StatusError(Status.notSupported, 'not so')
  }
  const two = await served.client()
  t.equal((await two.call(open)).status, Status.notSupported)
})

t.test('controls are answered as the producer says', async t => {
  const served = await serve(t)
  const { calls } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  const control = { opcode: Opcode.dcpControl, key: 'known', value: 'true' }
  t.equal((await one.call(control)).status, Status.success)
  t.equal((await one.call({ ...control, key: 'unknown' })).status, Status.invalidArguments)
  t.same(calls, [
    ['control', 'known', 'true'],
    ['control', 'unknown', 'true'],
  ])
})

t.test('the answer to a stream request comes before the frames of the stream', async t => {
  const served = await serve(t)
  const { answers, output } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  one.send({ ...streamRequest, opaque: 7 }, { opcode: Opcode.noop, opaque: 8 })
  await eventually(() => answers.length === 1)
  answers[0]!({ status: Status.success, value: Buffer.alloc(16, 1) })
  output().write(encodeRequest({ opcode: Opcode.dcpSnapshotMarker, opaque: 7 }))
  const [answer, noop, marker] = await one.take(3)
  t.equal(answer!.opaque, 7)
  t.equal(answer!.valueLength, 16)
  t.equal(noop!.opaque, 8)
  t.equal(marker!.opcode, Opcode.dcpSnapshotMarker)
})

t.test('frames do not wait for the answers to later requests', async t => {
  const served = await serve(t)
  const { answers, output } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  one.send({ ...streamRequest, opaque: 1 }, { ...streamRequest, opaque: 2 })
  await eventually(() => answers.length === 2)
  answers[0]!({ status: Status.success, value: Buffer.alloc(16) })
  const write = (opaque: number) =>
    output().write(encodeRequest({ opcode: Opcode.dcpSnapshotMarker, opaque }))
  write(11)
  const opaques = async (count: number) => (await one.take(count)).map(({ opaque }) => opaque)
  t.same(await opaques(2), [1, 11])
  write(12)
  t.same(await opaques(1), [12])
  one.send({ opcode: Opcode.dcpCloseStream, vbid: 3, opaque: 3 }, streamRequest)
  await eventually(() => answers.length === 3)
  write(13)
  answers[1]!({ status: Status.success, value: Buffer.alloc(16) })
  t.same(await opaques(3), [2, 3, 13], 'but what was answered before them stays before them')
})

t.test('refused stream requests keep what their answer has to say', async t => {
  const served = await serve(t)
  const { answers } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  one.send({ ...streamRequest, opaque: 1 }, { ...streamRequest, opaque: 2 }, streamRequest)
  await eventually(() => answers.length === 3)
  answers[2]!(new StatusError(Status.temporaryFailure, 'too much to do'))
  answers[1]!({ status: Status.notMyVbucket, value: Buffer.alloc(0) })
  answers[0]!({ status: Status.rollback, value: Buffer.alloc(8) })
  const [rollback, elsewhere, failed] = await one.take(3)
  t.equal(rollback!.status, Status.rollback)
  t.equal(rollback!.valueLength, 8)
  t.equal(elsewhere!.status, Status.notMyVbucket)
  t.equal(failed!.status, Status.temporaryFailure)
})

t.test('acknowledgements and answered no-ops reach the producer, and are not answered', async t => {
  const served = await serve(t)
  const { calls } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  const acknowledge = { opcode: Opcode.dcpBufferAcknowledgement, extras: encodeUint32Extras(4096) }
  one.send(acknowledge, { opcode: Opcode.dcpNoop, opaque: 5 })
  t.equal((await one.next()).opaque, 5)
  one.socket.write(encodeResponse({ opcode: Opcode.dcpNoop, opaque: 99 }))
  await one.call({ opcode: Opcode.noop })
  t.same(calls, [
    ['bufferAcknowledge', 4096],
    ['noopAnswered', 99],
  ])
  const close = { opcode: Opcode.dcpCloseStream, vbid: 3 }
  t.equal((await one.call(close)).status, Status.success)
  t.equal((await one.call({ ...close, vbid: 4 })).status, Status.keyNotFound)
  t.equal((await one.call({ opcode: Opcode.dcpGetFailoverLog, vbid: 3 })).valueLength, 16)
})

t.test('how a connection went away is told to its producer', async t => {
  for (const [leave, clean] of [
    ['destroy', false],
    ['end', false],
    ['quit', true],
  ] as const) {
    const served = await serve(t)
    const { calls } = scriptProducer(served)
    const one = await served.client()
    await one.call(open)
    if (leave === 'quit') one.send({ opcode: Opcode.quit })
    else one.socket[leave]()
    await eventually(() => served.server.connections === 0)
    t.same(calls[0], ['disconnected', clean], leave)
  }
})

t.test('a stream can close its connection, and knows what waits for the kernel', async t => {
  const served = await serve(t)
  const { output } = scriptProducer(served)
  const one = await served.client()
  await one.call(open)
  t.equal(output().queuedBytes, 0)
  one.socket.pause()
  const slab = 256 * 1024
  let written = 0
  while (output().queuedBytes < 2 * slab) {
    output().write(Buffer.alloc(slab))
    written += slab
    await new Promise(resolve => setImmediate(resolve))
  }
  t.ok(written > 2 * slab)
  let drained = 0
  output().onDrain = () => drained++
  let received = 0
  one.socket.removeAllListeners('data').on('data', chunk => (received += chunk.length))
  one.socket.resume()
  await eventually(() => output().queuedBytes === 0)
  t.ok(drained > 0)
  output().close('enough')
  await one.closed()
  t.equal(received, written)
})
