import t from 'tap'
import { findMatch, matchKind, type Presented } from '../../../src/dcp/parking/matching.ts'
import { FakeBucket } from '../support/fake-snapshots.ts'

const [ours, theirs] = [7n, 8n]
const held = { uuid: ours, snapshotStart: 100, snapshotEnd: 200, purgeSeqno: 100 }

type At = readonly [number, number, number]
const presented = ([start, snapshotStart, snapshotEnd]: At, uuid = ours): Presented => ({
  start,
  snapshotStart,
  snapshotEnd,
  uuid,
  toleratedPurgeSeqno: 0,
})

const cases: [string, At, string | undefined][] = [
  ['in the middle of it', [150, 100, 200], 'within'],
  ['right behind its start', [101, 100, 200], 'within'],
  ['right before its end', [199, 100, 200], 'within'],
  ['with nothing of it but its marker', [100, 100, 200], 'before'],
  ['at the end of the one before', [100, 40, 100], 'before'],
  ['at its start, in the words of a consistent point', [100, 100, 100], 'before'],
  ['with all of it', [200, 100, 200], 'received'],
  ['at its end, in the words of a consistent point', [200, 200, 200], 'received'],
  ['at its end, with the marker of the next', [200, 200, 300], 'received'],
  ['at its start, in the middle of the one before', [100, 40, 180], 'before'],
  ['at its start, in the middle of one that reaches further', [100, 40, 201], undefined],
  ['in the middle of another', [150, 100, 201], undefined],
  ['in the middle of another that begins elsewhere', [150, 99, 200], undefined],
  ['in the middle, as if that were a consistent point', [150, 150, 150], undefined],
  ['before its start', [90, 80, 100], undefined],
  ['beyond its end', [250, 200, 300], undefined],
  ['with nothing at all', [0, 0, 0], undefined],
]

for (const [what, at, kind] of cases) {
  t.test(`a client ${what}: ${kind ?? 'no match'}`, async t => {
    t.equal(matchKind(held, presented(at)), kind)
    t.equal(matchKind(held, presented(at, theirs)), undefined, 'never under another uuid')
  })
}

t.test('a first snapshot matches a client that has nothing yet', async t => {
  const first = { ...held, snapshotStart: 0, purgeSeqno: 90 }
  t.equal(matchKind(first, presented([0, 0, 0])), 'before')
  t.equal(matchKind(first, presented([0, 0, 200])), 'before')
  t.equal(matchKind(first, presented([50, 0, 200])), 'within', 'nothing was deleted for it before')
})

t.test('a snapshot that lacks tombstones serves only who does not need them', async t => {
  const lacking = { ...held, purgeSeqno: 130 }
  const at: At = [150, 100, 200]
  t.equal(matchKind(lacking, presented(at)), undefined)
  t.equal(matchKind(lacking, { ...presented(at), toleratedPurgeSeqno: 129 }), undefined)
  t.equal(matchKind(lacking, { ...presented(at), toleratedPurgeSeqno: 130 }), 'within')
  t.equal(matchKind(lacking, { ...presented(at), toleratedPurgeSeqno: Infinity }), 'within')
})

t.test('between two consecutive snapshots a client goes on in the second', async t => {
  const bucket = new FakeBucket()
  const one = bucket.held({ snapshotStart: 0, snapshotEnd: 100 })
  const two = bucket.held({ snapshotStart: 100, snapshotEnd: 200 })
  for (const candidates of [
    [one, two],
    [two, one],
  ]) {
    for (const at of [
      [100, 0, 100],
      [100, 100, 100],
      [100, 100, 200],
    ] as const) {
      t.same(findMatch(candidates, presented(at)), { kind: 'before', held: two })
    }
    t.same(findMatch(candidates, presented([60, 0, 100])), { kind: 'within', held: one })
    t.same(findMatch(candidates, presented([200, 100, 200])), { kind: 'received', held: two })
  }
})
