import t from 'tap'
import { seqnoInfinity } from '../../protocol/bytes.ts'
import { decodeDcpOpen, DcpOpenFlag } from '../../protocol/dcp/open.ts'
import { StreamEndReason } from '../../protocol/dcp/stream-end.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { DcpClient, type DcpEvent } from '../../src/client/index.ts'
import { dcpScene, drain, seqnosOf, take, type OnStream } from './dcp-scene.ts'
import {
  accepted,
  deletion,
  marker,
  mutation,
  mutations,
  streamEnd,
  until,
  type Script,
} from './scripted-server.ts'

const idle: OnStream = (_request, frame, peer) => peer.send(accepted(frame, [7n, 0]))

/** Sends all up to the end asked for, at most 10, and the end if there is one. */
const whole: OnStream = (request, frame, peer) => {
  const end = Math.min(10, request.endSeqno)
  peer.send(accepted(frame, [7n, 0]))
  if (end > request.startSeqno)
    peer.send(
      marker(request, request.startSeqno, end),
      mutations(request, request.startSeqno + 1, end),
    )
  if (request.endSeqno < seqnoInfinity) peer.send(streamEnd(request, StreamEndReason.ok))
}

const refuse = (key: string, status: number): Script => {
  return (frame, peer) => {
    if (frame.opcode !== Opcode.dcpControl || frame.key().toString() !== key) return false
    peer.reply(frame, { status })
    return true
  }
}

t.test('opens as a producer under its name, with all its controls', async t => {
  const { server } = await dcpScene(t, {
    onStream: idle,
    client: { bucket: 'travel', bufferBytes: 4096, noopIntervalSeconds: 1.5, includeXattrs: true },
  })
  const frames = server.last.received
  t.equal(
    frames
      .find(frame => frame.opcode === Opcode.selectBucket)
      ?.key()
      .toString(),
    'travel',
  )
  const open = decodeDcpOpen(frames.find(frame => frame.opcode === Opcode.dcpOpen)!)!
  t.equal(open.name, 'test')
  const { producer, includeDeleteTimes, includeXattrs, includeDeletedUserXattrs } = DcpOpenFlag
  const xattrFlags = includeXattrs | includeDeletedUserXattrs
  t.equal(open.flags, producer | includeDeleteTimes | xattrFlags)
  const controls = server.last
    .sent(Opcode.dcpControl)
    .map(frame => [frame.key().toString(), frame.value().toString()])
  t.same(Object.fromEntries(controls), {
    enable_noop: 'true',
    set_noop_interval: '1.5',
    enable_expiry_opcode: 'true',
    max_marker_version: '2.2',
    send_stream_end_on_client_close_stream: 'true',
    connection_buffer_size: '4096',
    backfill_resume: 'true',
  })
})

t.test('identity, keys only and further controls are told to the server', async t => {
  const { server } = await dcpScene(t, {
    onStream: idle,
    client: {
      backfillResume: { id: 'me', grace: 30 },
      keysOnly: true,
      bufferBytes: 0,
      controls: { set_priority: 'high' },
    },
  })
  const open = decodeDcpOpen(server.last.sent(Opcode.dcpOpen)[0]!)!
  t.ok(open.flags & DcpOpenFlag.noValue)
  const controls = new Map(
    server.last
      .sent(Opcode.dcpControl)
      .map(frame => [frame.key().toString(), frame.value().toString()]),
  )
  t.same(JSON.parse(controls.get('backfill_resume')!), { id: 'me', grace: 30 })
  t.equal(controls.get('set_priority'), 'high')
  t.notOk(controls.has('connection_buffer_size'))
})

t.test('optional controls may be refused, needed ones may not', async t => {
  const { invalidArguments, notSupported, temporaryFailure } = Status
  await dcpScene(t, { onStream: idle, script: refuse('backfill_resume', invalidArguments) })
  await dcpScene(t, { onStream: idle, script: refuse('max_marker_version', notSupported) })
  const needed = { onStream: idle, script: refuse('enable_noop', invalidArguments) }
  await t.rejects(dcpScene(t, needed), { message: /dcpControl: invalidArguments/ })
  const trouble = { onStream: idle, script: refuse('backfill_resume', temporaryFailure) }
  await t.rejects(dcpScene(t, trouble), { message: /dcpControl: temporaryFailure/ })
})

t.test('streams all vbuckets from the beginning, in order, and each change is whole', async t => {
  const { client, requests } = await dcpScene(t, {
    highSeqnos: { 0: 10, 1: 10, 5: 10 },
    onStream(request, frame, peer) {
      peer.send(
        accepted(frame, [7n, 0]),
        marker(request, 0, 3),
        mutation(request, 1, 'one', 'first'),
        deletion(request, 2, 'two', 1234),
        deletion(request, 3, 'three', undefined),
      )
    },
  })
  const changes = await take(client, 9)
  t.same(
    requests.map(request => request.vbid),
    [0, 1, 5],
  )
  t.match(requests[0], {
    flags: 0,
    startSeqno: 0,
    endSeqno: seqnoInfinity,
    vbuuid: 0n,
    snapshotStartSeqno: 0,
    snapshotEndSeqno: 0,
    value: '',
  })
  const inOne = changes.filter(change => change.vbid === 1)
  const collection = { collectionId: 0, collection: '_default._default' }
  const common = { vbid: 1, datatype: 0, ...collection }
  t.same(inOne, [
    {
      ...common,
      type: 'mutation',
      seqno: 1,
      revno: 1,
      cas: 1001n,
      flags: 7,
      expiry: 0,
      key: Buffer.from('one'),
      value: Buffer.from('first'),
      deleteTime: undefined,
    },
    {
      ...common,
      type: 'deletion',
      seqno: 2,
      revno: 2,
      cas: 1002n,
      flags: 0,
      expiry: 0,
      key: Buffer.from('two'),
      value: Buffer.alloc(0),
      deleteTime: 1234,
    },
    { ...inOne[2], type: 'deletion', seqno: 3, deleteTime: undefined },
  ])
  t.equal(client.statistics().changes, 9)
  t.equal(client.statistics().openStreams, 3)
})

t.test('changes can be kept: later reads do not touch them', async t => {
  const { client } = await dcpScene(t, {
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]), marker(request, 0, 500))
      for (let seqno = 1; seqno <= 500; seqno++)
        peer.send(mutation(request, seqno, `key-${seqno}`, `${seqno}`.padStart(3_000, '.')))
    },
  })
  const changes = await take(client, 500)
  for (const { seqno, key, value } of changes) {
    if (key.toString() !== `key-${seqno}` || value.toString() !== `${seqno}`.padStart(3_000, '.'))
      t.fail(`change ${seqno} was overwritten`)
  }
  t.equal(changes.length, 500)
})

t.test('until now: ends by itself, with the whole snapshot and a goodbye', async t => {
  const { client, requests, server } = await dcpScene(t, {
    highSeqnos: { 0: 4, 1: 0 },
    client: { until: 'now' },
    onStream(request, frame, peer) {
      peer.send(accepted(frame, [7n, 0]))
      // The end lies within a snapshot, which comes whole.
      if (request.endSeqno > 0)
        peer.send(marker(request, 0, 6), mutation(request, 3), mutation(request, 6))
      peer.send(streamEnd(request, StreamEndReason.ok))
    },
  })
  t.same(seqnosOf(await drain(client)), [3, 6])
  t.same(
    requests.map(request => request.endSeqno),
    [4, 0],
  )
  t.equal(server.last.sent(Opcode.quit).length, 1)
  t.match(client.state().vbuckets, [
    { vbid: 0, vbuuid: '7', seqno: 6, snapshotStart: 0, snapshotEnd: 6 },
    { vbid: 1, vbuuid: '7', seqno: 0 },
  ])
})

t.test('until given seqnos, for chosen vbuckets', async t => {
  const { client, requests } = await dcpScene(t, {
    client: { vbuckets: [3, 4], until: new Map([[3, 2]]) },
    onStream: whole,
  })
  await until(() => requests.length === 2)
  t.same(
    requests.map(({ vbid, endSeqno }) => [vbid, endSeqno]),
    [
      [3, 2],
      [4, seqnoInfinity],
    ],
  )
  t.equal((await take(client, 12)).length, 12)
})

t.test('from now: starts behind what there is, with the history of the server', async t => {
  const { requests } = await dcpScene(t, {
    highSeqnos: { 0: 12, 1: 0 },
    failoverLog: [
      [9n, 5],
      [7n, 0],
    ],
    client: { from: 'now' },
    onStream: idle,
  })
  await until(() => requests.length === 2)
  t.match(requests[0], { startSeqno: 12, vbuuid: 9n, snapshotStartSeqno: 12, snapshotEndSeqno: 12 })
  t.match(requests[1], { startSeqno: 0, vbuuid: 0n })
})

t.test('events: markers, advanced seqnos and stream ends too', async t => {
  const { client } = await dcpScene(t, {
    highSeqnos: { 0: 9 },
    client: { until: 'now' },
    onStream(request, frame, peer) {
      const advanced = Buffer.alloc(32)
      advanced.set(marker(request, 0, 0).subarray(0, 24))
      advanced[1] = Opcode.dcpSeqnoAdvanced
      advanced[4] = 8
      advanced[11] = 8
      advanced.writeBigUInt64BE(9n, 24)
      peer.send(
        accepted(frame, [7n, 0]),
        marker(request, 0, 8),
        mutation(request, 8),
        advanced,
        streamEnd(request, StreamEndReason.ok),
      )
    },
  })
  const events: DcpEvent[] = []
  for await (const event of client.events()) events.push(event)
  t.match(events, [
    { type: 'snapshot-marker', vbid: 0, startSeqno: 0, endSeqno: 8, flags: 2 },
    { type: 'mutation', seqno: 8 },
    { type: 'seqno-advanced', seqno: 9 },
    { type: 'stream-end', reason: 'ok', reopens: false },
  ])
  const [saved] = client.state().vbuckets
  t.match(saved, { seqno: 9, snapshotStart: 9, snapshotEnd: 9 })
})

t.test('a name that is none, and other mistakes, are told at once', async t => {
  await t.rejects(DcpClient.connect({ name: '' }), RangeError)
  await t.rejects(DcpClient.connect({ name: 'x'.repeat(201) }), RangeError)
  await t.rejects(DcpClient.connect({ name: 'x', vbuckets: [-1] }), RangeError)
  await t.rejects(DcpClient.connect({ name: 'x', bufferBytes: -1 }), RangeError)
  await t.rejects(DcpClient.connect({ name: 'x', noopIntervalSeconds: 0 }), RangeError)
  await t.rejects(DcpClient.connect({ name: 'x', port: 1 }), { code: 'HOLDFAST_CONNECT' })
})

t.test('a vbucket that is not here is an error, not a wait', async t => {
  const script: Script = (frame, peer) => {
    if (frame.opcode !== Opcode.dcpStreamRequest) return false
    peer.reply(frame, { status: Status.notMyVbucket })
    return true
  }
  const { client } = await dcpScene(t, { client: { vbuckets: [77] }, script, onStream: idle })
  await t.rejects(take(client, 1), { message: /dcpStreamRequest: notMyVbucket/ })
  const bounded = { client: { vbuckets: [77], until: 'now' as const }, onStream: idle }
  await t.rejects(dcpScene(t, bounded), { message: /notMyVbucket: vbucket 77/ })
})

t.test('one consumer at a time', async t => {
  const { client } = await dcpScene(t, { onStream: idle })
  const iterator = client[Symbol.asyncIterator]()
  const first = iterator.next()
  await t.rejects(iterator.next(), { message: /one consumer/ })
  await client.close()
  t.same(await first, { done: true, value: undefined })
})

t.test('close drops what waits and says no goodbye, unless asked to', async t => {
  const scene = await dcpScene(t, { onStream: whole })
  await until(() => scene.client.statistics().queuedEvents === 11)
  await scene.client.close()
  t.same(await drain(scene.client), [])
  t.match(scene.client.state().vbuckets, [{ seqno: 0 }])
  t.equal(scene.server.last.sent(Opcode.quit).length, 0)
  const released = await dcpScene(t, { onStream: whole })
  await released.client.close({ release: true })
  t.equal(released.server.last.sent(Opcode.quit).length, 1)
})

t.test('break ends the client; what was in hand counts as taken', async t => {
  const { client } = await dcpScene(t, { onStream: whole })
  for await (const change of client) if (change.seqno === 4) break
  t.match(client.state().vbuckets, [{ seqno: 4, snapshotStart: 0, snapshotEnd: 10 }])
  t.notOk(client.statistics().connected)
})

t.test('aborting ends the iteration with its reason', async t => {
  const controller = new AbortController()
  const { client } = await dcpScene(t, {
    onStream: idle,
    client: { signal: controller.signal },
  })
  const taking = take(client, 1)
  controller.abort(new Error('enough'))
  await t.rejects(taking, { message: 'enough' })
  await t.rejects(take(client, 1), { message: 'enough' })
  const { signal } = controller
  await t.rejects(DcpClient.connect({ name: 'x', signal }), { message: 'enough' })
})

t.test('aborting while connecting', async t => {
  const controller = new AbortController()
  const attempt = dcpScene(t, {
    onStream: idle,
    client: { signal: controller.signal },
    // Nothing is answered from here on.
    script: frame => {
      if (frame.opcode === Opcode.dcpOpen) controller.abort(new Error('changed my mind'))
      return frame.opcode === Opcode.dcpOpen || frame.opcode === Opcode.dcpControl
    },
  })
  await t.rejects(attempt, { message: 'changed my mind' })
})

t.test('one stream can be closed; the iteration ends with the last', async t => {
  const { client, server } = await dcpScene(t, { highSeqnos: { 0: 10, 1: 10 }, onStream: whole })
  await until(() => client.statistics().queuedEvents === 22)
  await client.closeStream(0)
  await client.closeStream(0)
  t.match(server.last.sent(Opcode.dcpCloseStream), [{ vbid: 0 }])
  t.equal((await take(client, 20)).length, 20, 'what waited is delivered')
  const rest = drain(client)
  await client.closeStream(1)
  t.same(await rest, [])
})
