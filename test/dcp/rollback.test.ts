import t from 'tap'
import { decideRollback, normalise, sharedSeqno } from '../../src/dcp/rollback.ts'
import type { History, RollbackRequest } from '../../src/dcp/rollback.ts'

const [w, x, y, foreign] = [0x11n, 0x22n, 0x33n, 0xffn]

/** Three histories: W up to 500, X up to 900, Y since. */
const history: History = {
  failoverLog: [
    { vbuuid: y, seqno: 900 },
    { vbuuid: x, seqno: 500 },
    { vbuuid: w, seqno: 0 },
  ],
  highSeqno: 1200,
  purgeSeqno: 0,
}

const asked: RollbackRequest = {
  start: 0,
  uuid: 0n,
  snapshotStart: 0,
  snapshotEnd: 0,
  strictUuid: false,
  toleratedPurgeSeqno: 0,
  resumable: false,
}

/** start, snapshot start, snapshot end */
type At = readonly [number, number, number]

interface Case {
  what: string
  at: At
  uuid: bigint
  expect: number | undefined
  more?: Partial<RollbackRequest>
  purged?: number
}

const cases: Case[] = [
  { what: 'a client with nothing begins', at: [0, 0, 0], uuid: 0n, expect: undefined },
  { what: 'nothing, but an unknown history', at: [0, 0, 0], uuid: foreign, expect: undefined },
  {
    what: 'nothing, an unknown history, and strict about it',
    at: [0, 0, 0],
    uuid: foreign,
    more: { strictUuid: true },
    expect: 0,
  },
  {
    what: 'nothing, strict, and without a history',
    at: [0, 0, 0],
    uuid: 0n,
    more: { strictUuid: true },
    expect: undefined,
  },
  {
    what: 'nothing, strict, and a known history',
    at: [0, 0, 0],
    uuid: w,
    more: { strictUuid: true },
    expect: undefined,
  },
  {
    what: 'nothing of a first snapshot that reaches into a lost history',
    at: [0, 0, 700],
    uuid: w,
    more: { strictUuid: true },
    expect: undefined,
  },
  { what: 'something, without a history', at: [5, 5, 5], uuid: 0n, expect: 0 },
  { what: 'something, of an unknown history', at: [5, 0, 9], uuid: foreign, expect: 0 },
  { what: 'up to date in the newest history', at: [1200, 1200, 1200], uuid: y, expect: undefined },
  { what: 'lagging in the newest history', at: [1000, 950, 1100], uuid: y, expect: undefined },
  { what: 'lagging in an old history', at: [400, 300, 500], uuid: w, expect: undefined },
  { what: 'within a snapshot that crosses a branch', at: [490, 450, 510], uuid: w, expect: 450 },
  { what: 'past a branch, snapshot begun before it', at: [505, 450, 510], uuid: w, expect: 450 },
  { what: 'past a branch, snapshot begun behind it', at: [600, 550, 650], uuid: w, expect: 500 },
  {
    what: 'at the end of a snapshot that crosses a branch',
    at: [510, 450, 510],
    uuid: w,
    expect: 500,
  },
  {
    what: 'at the start of a snapshot that crosses a branch',
    at: [450, 450, 510],
    uuid: w,
    expect: undefined,
  },
  {
    what: 'at the start of one, right at the branch',
    at: [500, 500, 700],
    uuid: w,
    expect: undefined,
  },
  {
    what: 'at the end of one, right at the branch',
    at: [500, 300, 500],
    uuid: w,
    expect: undefined,
  },
  { what: 'the second of three histories', at: [900, 900, 900], uuid: x, expect: undefined },
  { what: 'one past the second of three histories', at: [901, 901, 901], uuid: x, expect: 900 },
  { what: 'ahead of the newest change', at: [1300, 1300, 1300], uuid: y, expect: 1200 },
  { what: 'a snapshot beyond the newest change', at: [1190, 1100, 1300], uuid: y, expect: 1100 },
  {
    what: 'a marker only, beyond the newest change',
    at: [1190, 1190, 1300],
    uuid: y,
    expect: undefined,
  },

  { what: 'purged behind it', at: [1000, 1000, 1000], uuid: y, purged: 1000, expect: undefined },
  { what: 'purged beyond it', at: [1000, 1000, 1000], uuid: y, purged: 1001, expect: 0 },
  { what: 'purged within its snapshot', at: [1050, 1000, 1100], uuid: y, purged: 1001, expect: 0 },
  {
    what: 'purged to where its snapshot begins',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1000,
    expect: undefined,
  },
  {
    what: 'purged within a snapshot that it has whole',
    at: [1100, 1000, 1100],
    uuid: y,
    purged: 1050,
    expect: undefined,
  },
  {
    what: 'purged beyond a client that has nothing',
    at: [0, 0, 0],
    uuid: 0n,
    purged: 1100,
    expect: undefined,
  },
  {
    what: 'purged beyond it and of another history',
    at: [5, 5, 5],
    uuid: foreign,
    purged: 9,
    expect: 0,
  },
  {
    what: 'purged, and indifferent to deletions',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1150,
    more: { toleratedPurgeSeqno: Infinity },
    expect: undefined,
  },
  {
    what: 'indifferent to deletions, but of a lost history',
    at: [600, 550, 650],
    uuid: w,
    purged: 1150,
    more: { toleratedPurgeSeqno: Infinity },
    expect: 500,
  },
  {
    what: 'purged as far as a marker had told it',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1030,
    more: { toleratedPurgeSeqno: 1030 },
    expect: undefined,
  },
  {
    what: 'purged further than a marker had told it',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1031,
    more: { toleratedPurgeSeqno: 1030 },
    expect: 0,
  },
  {
    what: 'resumable, purged within the part of its snapshot that it has',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1050,
    more: { resumable: true },
    expect: undefined,
  },
  {
    what: 'resumable, purged within the part that it lacks',
    at: [1050, 1000, 1100],
    uuid: y,
    purged: 1051,
    more: { resumable: true },
    expect: 0,
  },
]

for (const { what, at, uuid, expect, more, purged } of cases) {
  t.test(`${what}: ${expect === undefined ? 'goes on' : `rolls back to ${expect}`}`, async t => {
    const [start, snapshotStart, snapshotEnd] = at
    const request = { ...asked, start, snapshotStart, snapshotEnd, uuid, ...more }
    const decision = decideRollback(request, { ...history, purgeSeqno: purged ?? 0 })
    t.equal(decision.rollbackTo, expect)
    t.equal(decision.reason === '', expect === undefined, 'a rollback has a reason, and only that')
  })
}

t.test('a snapshot shrinks to the point at whose start or end a client stands', async t => {
  const at = (start: number, snapshotStart: number, snapshotEnd: number) => {
    const position = normalise({ start, snapshotStart, snapshotEnd, uuid: w })
    return [position.snapshotStart, position.snapshotEnd]
  }
  t.same(at(5, 5, 9), [5, 5])
  t.same(at(9, 5, 9), [9, 9])
  t.same(at(7, 5, 9), [5, 9])
  t.same(at(0, 0, 0), [0, 0])
})

t.test('histories are shared up to where the next one began', async t => {
  t.equal(sharedSeqno(w, history), 500)
  t.equal(sharedSeqno(x, history), 900)
  t.equal(sharedSeqno(y, history), 1200)
  t.equal(sharedSeqno(foreign, history), undefined)
})

t.test('a client that follows a rollback is not rolled back again and again', async t => {
  for (const uuid of [w, x, y]) {
    for (let start = 1; start <= 1300; start += 7) {
      for (const before of [0, 3, 200]) {
        for (const behind of [0, 3, 200]) {
          const snapshotStart = Math.max(0, start - before)
          const request = { ...asked, uuid, start, snapshotStart, snapshotEnd: start + behind }
          const first = decideRollback(request, history).rollbackTo
          if (first === undefined) continue
          const at = { start: first, snapshotStart: first, snapshotEnd: first }
          const again = decideRollback({ ...asked, uuid, ...at }, history).rollbackTo
          if (again !== undefined) t.fail(`${uuid} ${start} ${snapshotStart}: ${first}, ${again}`)
        }
      }
    }
  }
  t.pass('every rollback point can be gone on from')
})
