/** Compressed values in streams: kept, expanded or made, from disk and from memory alike. */
import { uncompressSync } from 'snappy'
import t, { type Test } from 'tap'
import { Datatype } from '../../protocol/datatype.ts'
import { DcpOpenFlag } from '../../protocol/dcp/open.ts'
import type { Frame } from '../../protocol/frame.ts'
import { FrameReader } from '../../protocol/frame-reader.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { storing } from '../support/bucket.ts'
import { blockOf, copyOf, literal, repeated } from '../support/snappy-blocks.ts'
import { openScene, until, type ConnectOptions, type Scene } from './support/scene.ts'

const { json, snappy, xattr } = Datatype
const block = repeated('a', 400)
const plain = 'p'.repeat(400)
/** One attribute, `a` with the value 1, in front of a JSON string. */
const attributes = Buffer.from('000000080000000461003100', 'hex')
const body = `"${'b'.repeat(300)}"`
const whole = blockOf(
  attributes.length + body.length,
  literal(attributes.toString('latin1')),
  literal('"b'),
  ...[64, 64, 64, 64, 43].map(length => copyOf(1, length)),
  literal('"'),
)

function fill(scene: Scene): void {
  const store = (key: string, value: string | Buffer, datatype: number) => {
    const request = storing(key, value)
    request.datatype = datatype
    const status = scene.bucket.documents.store(scene.vbucket(1), request)
    if (status !== Status.success) throw new Error(`${key}: status ${status}`)
  }
  store('block', block, snappy)
  store('plain', plain, 0)
  store('short', 'short', 0)
  store('whole', whole, snappy | xattr | json)
}

/** What a stream of the vbucket brings, by key. */
async function streamed(scene: Scene, options: ConnectOptions): Promise<Map<string, Frame>> {
  const link = scene.connect({ name: `client ${Math.random()}`, ...options })
  const { consumer, output } = link
  const reader = new FrameReader({ maxBodyBytes: 2 ** 20, skipBodyBytes: 2 ** 20 })
  const frames = new Map<string, Frame>()
  output.deliver = bytes => {
    consumer.read(bytes)
    reader.read(Buffer.from(bytes), frame => {
      if (frame.opcode === Opcode.dcpMutation) frames.set(frame.key().toString(), frame.copy())
    })
  }
  await scene.stream(link, 1)
  await until('all four have come', () => frames.size === 4)
  link.producer.disconnected(true)
  return frames
}

const text = (frames: Map<string, Frame>, key: string) =>
  frames.get(key)!.value().toString('latin1')
const expanded = (frames: Map<string, Frame>, key: string) =>
  uncompressSync(frames.get(key)!.value()).toString('latin1')

async function check(t: Test, scene: Scene): Promise<void> {
  const { includeXattrs, noValue } = DcpOpenFlag
  const all = attributes.toString('latin1') + body

  const old = await streamed(scene, { flags: includeXattrs })
  t.equal(text(old, 'block'), 'a'.repeat(400), 'it did not ask for blocks')
  t.equal(text(old, 'whole'), all)
  t.equal(old.get('block')!.datatype, 0)
  t.equal(old.get('whole')!.datatype, xattr | json)

  const kept = await streamed(scene, { snappy: true, flags: includeXattrs })
  t.same(kept.get('block')!.value(), block, 'as it is stored')
  t.equal(kept.get('block')!.datatype, snappy)
  t.same(kept.get('whole')!.value(), whole)
  t.equal(kept.get('plain')!.datatype, 0)
  t.equal(text(kept, 'plain'), plain)

  const bodies = await streamed(scene, { snappy: true })
  t.equal(text(bodies, 'whole'), body, 'cut, and expanded for it')
  t.equal(bodies.get('whole')!.datatype, json)

  const forced = await streamed(scene, {
    snappy: true,
    controls: { force_value_compression: 'true' },
  })
  t.equal(forced.get('plain')!.datatype, snappy)
  t.equal(expanded(forced, 'plain'), plain)
  t.equal(expanded(forced, 'whole'), body)
  t.equal(text(forced, 'short'), 'short', 'it would not get smaller')

  const names = await streamed(scene, { snappy: true, flags: noValue | includeXattrs })
  t.equal(names.get('block')!.valueLength, 0)
  t.equal(text(names, 'whole'), attributes.toString('latin1'))
  t.equal(names.get('whole')!.datatype, xattr)
}

t.test('from memory', async t => {
  const scene = await openScene(t)
  fill(scene)
  await check(t, scene)
})

t.test('from disk', async t => {
  const scene = await openScene(t)
  fill(scene)
  await scene.toDisk()
  await check(t, scene)
})
