/** The in-memory phase by itself, a step at a time. */
import t from 'tap'
import { FlowControl } from '../../src/dcp/flow-control.ts'
import { InMemoryPhase } from '../../src/dcp/in-memory.ts'
import { Outbox } from '../../src/dcp/outbox.ts'
import { FakeOutput } from './support/fake-output.ts'
import { RecordFilter } from '../../src/storage/record-filter.ts'
import { openScene, type Scene } from './support/scene.ts'

const form = {
  opaque: 1,
  noValue: false,
  includeXattrs: false,
  deletedUserXattrs: true,
  keepSnappy: true,
  forceSnappy: false,
  deleteTimes: false,
  expiryOpcode: false,
  collections: true,
  filter: undefined,
  streamId: 0,
}

function phaseOf(scene: Scene, afterSeqno: number) {
  const markers: [start: number, end: number][] = []
  const outbox = new Outbox(new FakeOutput(), new FlowControl())
  const phase = new InMemoryPhase({
    vbucket: scene.vbucket(0),
    changes: scene.bucket.changes,
    outbox,
    form,
    filter: new RecordFilter(form),
    afterSeqno,
    sentSeqno: afterSeqno,
    writeMarker: (start, end) => void markers.push([start, end]),
  })
  return { phase, markers }
}

t.test('a snapshot ends where the newest change was when it began', async t => {
  const scene = await openScene(t)
  for (const key of ['a', 'b', 'c']) scene.set(0, key, 'value')
  const { phase, markers } = phaseOf(scene, 0)
  t.equal(phase.step(1), 'more')
  t.same([phase.cursor, phase.sentSeqno], [1, 1], 'one frame more than there is room for')
  scene.set(0, 'd', 'value')
  t.equal(phase.step(1000), 'whole')
  t.equal(phase.sentSeqno, 3)
  t.equal(phase.step(1000), 'whole')
  t.equal(phase.step(1000), 'idle')
  t.same(markers, [
    [0, 3],
    [3, 4],
  ])
})

t.test('what is superseded within the snapshot is passed over, and only that', async t => {
  const scene = await openScene(t)
  for (const key of ['a', 'b', 'b', 'c']) scene.set(0, key, 'value')
  const { phase } = phaseOf(scene, 0)
  phase.step(1)
  scene.set(0, 'c', 'newer, but of the next snapshot')
  t.equal(phase.step(1), 'more')
  t.same([phase.cursor, phase.sentSeqno], [2, 1], 'passing over is a step, too')
  t.equal(phase.step(1), 'more')
  t.equal(phase.sentSeqno, 3)
  t.equal(phase.step(1), 'whole')
  t.equal(phase.sentSeqno, 4)
})

t.test('a log that was given up leaves the phase behind, where its last frame was', async t => {
  const scene = await openScene(t)
  for (const key of ['a', 'b', 'b', 'c']) scene.set(0, key, 'value')
  const { phase } = phaseOf(scene, 0)
  phase.step(1)
  phase.step(1)
  await scene.toDisk()
  t.equal(phase.step(1000), 'behind')
  t.equal(phase.sentSeqno, 1, 'the disk has what was passed over in its newer version')
  t.equal(phase.snapshotEnd, 4, 'which a snapshot from disk has to reach')
  t.equal(phaseOf(scene, 2).phase.step(1000), 'behind', 'one cannot begin there either')
})
