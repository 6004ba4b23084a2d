/** What a client may set on its connection, and what DCP_OPEN accepts. */
import t from 'tap'
import { DcpOpenFlag } from '../../protocol/dcp/index.ts'
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../../src/errors.ts'
import { readOpen } from '../../src/dcp/open-request.ts'
import { FakeOutput } from './support/fake-output.ts'
import { openScene } from './support/scene.ts'

const { success, invalidArguments, notSupported } = Status

const rows: [key: string, value: string, status: Status][] = [
  ['enable_noop', 'true', success],
  ['enable_noop', 'false', success],
  ['enable_noop', 'perhaps', invalidArguments],
  ['set_noop_interval', '180', success],
  ['set_noop_interval', '1.5', success],
  ['set_noop_interval', '0.1', invalidArguments],
  ['set_noop_interval', '10801', invalidArguments],
  ['set_noop_interval', '-1', invalidArguments],
  ['set_noop_interval', 'soon', invalidArguments],
  ['set_noop_interval', '1e3', invalidArguments],
  ['connection_buffer_size', '20971520', success],
  ['connection_buffer_size', '0', success],
  ['connection_buffer_size', '4294967295', success],
  ['connection_buffer_size', '4294967296', invalidArguments],
  ['connection_buffer_size', '1k', invalidArguments],
  ['stream_buffer_size', '1024', notSupported],
  ['set_priority', 'high', success],
  ['set_priority', 'medium', success],
  ['set_priority', 'low', success],
  ['set_priority', 'constructor', invalidArguments],
  ['backfill_order', 'round-robin', success],
  ['backfill_order', 'sequential', success],
  ['backfill_order', 'random', invalidArguments],
  ['enable_expiry_opcode', 'true', success],
  ['send_stream_end_on_client_close_stream', 'true', success],
  ['supports_cursor_dropping', 'true', success],
  ['supports_cursor_dropping_vulcan', 'true', success],
  ['max_marker_version', '1.0', success],
  ['max_marker_version', '2.0', success],
  ['max_marker_version', '2.2', success],
  ['max_marker_version', '2.1', invalidArguments],
  ['v7_dcp_status_codes', 'true', success],
  ['v7_dcp_status_codes', 'false', invalidArguments],
  ['enable_out_of_order_snapshots', 'true', success],
  ['enable_out_of_order_snapshots', 'true_with_seqno_advanced', success],
  ['enable_out_of_order_snapshots', 'false', invalidArguments],
  ['flatbuffers_system_events', 'true', success],
  ['consumer_name', 'replica', success],
  ['include_deleted_user_xattrs', 'true', invalidArguments],
  // Without compressed values in HELLO.
  ['force_value_compression', 'true', invalidArguments],
  ['enable_stream_id', 'true', success],
  ['enable_stream_id', 'false', invalidArguments],
  ['enable_sync_writes', 'true', notSupported],
  ['change_streams', 'true', notSupported],
  ['backfill_resume', 'true', success],
  ['backfill_resume', '{"id":"me","grace":5}', success],
  ['backfill_resume', 'false', success],
  ['backfill_resume', 'maybe', invalidArguments],
  ['enable_ext_metadata', 'true', invalidArguments],
  ['no_such_control', 'true', invalidArguments],
  ['toString', 'true', invalidArguments],
]

t.test('controls', async t => {
  const scene = await openScene(t)
  const link = scene.connect()
  const { producer } = link
  for (const [key, value, status] of rows) {
    t.equal(producer.control(key, value), status, `${key} = ${value}`)
  }
  await scene.stream(link, 0)
  t.equal(producer.control('backfill_resume', 'true'), invalidArguments, 'not once streams exist')
})

t.test('what a control changes shows in the statistics', async t => {
  const scene = await openScene(t)
  const { producer } = scene.connect({
    controls: {
      connection_buffer_size: '1234',
      set_priority: 'high',
      backfill_order: 'sequential',
      enable_noop: 'true',
      set_noop_interval: '30',
      backfill_resume: '{"id":"me"}',
    },
  })
  const shown = scene.statistics('dcp')
  const of = (key: string) => shown.get(`eq_dcpq:client:${key}`)
  t.equal(of('max_buffer_bytes'), 1234)
  t.equal(of('priority'), 'high')
  t.equal(of('backfill_order'), 'sequential')
  t.equal(of('noop_enabled'), 'true')
  t.equal(of('noop_tx_interval'), 30)
  t.equal(of('backfill_resume'), 'id')
  t.equal(of('type'), 'producer')
  t.equal(shown.get('ep_dcp_count'), 1)
  producer.disconnected(true)
  t.equal(scene.statistics('dcp').get('ep_dcp_count'), 0)
  const figures = scene.service.figures()
  t.equal(figures.connections, 0)
  t.equal(figures.counters.connectionsOpened, 1)
})

const producer = DcpOpenFlag.producer
const opens: [what: string, name: string, flags: number, value: string, status: Status][] = [
  ['a producer', 'name', producer, '', success],
  ['a name of 200 bytes', 'x'.repeat(200), producer, '', success],
  ['a longer name', 'x'.repeat(201), producer, '', invalidArguments],
  ['no name', '', producer, '', invalidArguments],
  ['a consumer', 'name', 0, '', notSupported],
  ['the retired notifier', 'name', 2, '', invalidArguments],
  ['an unknown flag', 'name', producer | 0x1000, '', invalidArguments],
  ['no value with its datatype', 'name', producer | 0x40, '', notSupported],
  ['skipped deletes', 'name', producer | 0x200, '', notSupported],
  ['a JSON value', 'name', producer, '{"consumer_name":"c"}', success],
  ['another value', 'name', producer, 'consumer', invalidArguments],
  ['a JSON value that is no object', 'name', producer, '[]', invalidArguments],
]

for (const [what, name, flags, value, status] of opens) {
  t.test(`DCP_OPEN with ${what}: status ${status}`, async t => {
    if (status === success) {
      t.ok(readOpen(name, flags, value, 200))
      return
    }
    try {
      readOpen(name, flags, value, 200)
      t.fail('it was accepted')
    } catch (error) {
      t.ok(error instanceof StatusError)
      t.equal((error as StatusError).status, status)
    }
  })
}

t.test('an open that is refused leaves the connection of that name alone', async t => {
  const scene = await openScene(t)
  const first = scene.connect({ name: 'same' })
  t.throws(() =>
    scene.service.open({
      name: 'same',
      user: 'user',
      bucket: scene.bucket,
      isAware: false,
      flags: 0,
      value: '',
      output: new FakeOutput(),
      connectionId: 1,
    }),
  )
  t.equal(first.output.closedFor, undefined)
})
