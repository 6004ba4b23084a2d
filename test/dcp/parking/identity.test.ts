import t from 'tap'
import { Status } from '../../../protocol/status.ts'
import {
  clientOf,
  parseResume,
  placeOf,
  placesOf,
  resumeByDefault,
  type Resume,
} from '../../../src/dcp/parking/identity.ts'

const limits = {
  backfillGraceSeconds: 60,
  backfillReceivedGraceSeconds: 10,
  backfillGraceMaxSeconds: 3600,
  connectionNameBytesMax: 200,
}
const parse = (value: string) => parseResume(value, 'connection', limits)

const accepted: [string, Resume][] = [
  ['true', { kind: 'name', identity: 'connection', graceMs: 60_000 }],
  ['false', { kind: 'off' }],
  ['{"id":"me"}', { kind: 'id', identity: 'me', graceMs: 60_000 }],
  ['{"id":"me","grace":90}', { kind: 'id', identity: 'me', graceMs: 90_000 }],
  ['{"grace":1.5}', { kind: 'name', identity: 'connection', graceMs: 1500 }],
  ['{"grace":100000}', { kind: 'name', identity: 'connection', graceMs: 3_600_000 }],
  [`{"id":"${'x'.repeat(200)}"}`, { kind: 'id', identity: 'x'.repeat(200), graceMs: 60_000 }],
]

for (const [value, expected] of accepted) {
  t.test(`${value.slice(0, 40)} is accepted`, async t => void t.same(parse(value), expected))
}

const refused = [
  '',
  'TRUE',
  'yes',
  '1',
  'null',
  '[]',
  '"me"',
  '{}',
  '{"id":""}',
  '{"id":7}',
  '{"id":"me","grace":0}',
  '{"id":"me","grace":-1}',
  '{"id":"me","grace":"60"}',
  '{"id":"me","grace":null}',
  '{"id":"me","more":1}',
  '{"id":"me"',
  `{"id":"${'x'.repeat(201)}"}`,
  `{"id":"${'ü'.repeat(101)}"}`,
]

for (const value of refused) {
  t.test(
    `"${value.slice(0, 40)}" is invalid`,
    async t => void t.equal(parse(value), Status.invalidArguments),
  )
}

t.test('where nothing is kept, asking for it is not supported', async t => {
  const none = { ...limits, backfillGraceSeconds: 0 }
  t.equal(parseResume('true', 'connection', none), Status.notSupported)
  t.same(parseResume('false', 'connection', none), { kind: 'off' })
  const never = { ...limits, backfillGraceMaxSeconds: 0 }
  t.equal(parseResume('{"grace":5}', 'connection', never), Status.notSupported)
})

t.test('a server may give it to clients that do not ask', async t => {
  t.same(resumeByDefault({ ...limits, backfillResumeDefault: false }), { kind: 'off' })
  t.same(resumeByDefault({ ...limits, backfillResumeDefault: true }), {
    kind: 'presented',
    graceMs: 60_000,
    receivedGraceMs: 10_000,
  })
  const none = { ...limits, backfillGraceSeconds: 0 }
  t.same(resumeByDefault({ ...none, backfillResumeDefault: true }), { kind: 'off' })
})

const place = (vbid: number) => ({ vbid, scope: '' })

t.test('users, buckets, names, ids, vbuckets and filters have places of their own', async t => {
  const name: Resume = { kind: 'name', identity: 'x', graceMs: 1 }
  const id: Resume = { kind: 'id', identity: 'x', graceMs: 1 }
  const presented: Resume = { kind: 'presented', graceMs: 1, receivedGraceMs: 1 }
  const places = [
    placeOf(placesOf('user', 'bucket', name), place(1)),
    placeOf(placesOf('user', 'bucket', name), place(2)),
    placeOf(placesOf('user', 'bucket', id), place(1)),
    placeOf(placesOf('user', 'bucket', presented), place(1)),
    placeOf(placesOf('user', 'other', name), place(1)),
    placeOf(placesOf('other', 'bucket', name), place(1)),
    placeOf(placesOf('user","bucket', 'x', name), place(1)),
    placeOf(placesOf('user', 'bucket', name), { vbid: 1, scope: 'another' }),
  ]
  t.equal(new Set(places).size, places.length)
  t.equal(
    placeOf(placesOf('user', 'bucket', presented), place(1)),
    placeOf(placesOf('user', 'bucket', { ...presented, graceMs: 2 }), place(1)),
    'those who are recognised by what they present share one',
  )
  t.not(clientOf('user', 'bucket', presented, 'a'), clientOf('user', 'bucket', presented, 'b'))
  t.equal(clientOf('user', 'bucket', name, 'a'), clientOf('user', 'bucket', name, 'b'))
})

t.test('an operator who keeps nothing keeps nothing for a wish either', async t => {
  for (const off of [{ backfillGraceSeconds: 0 }, { backfillGraceMaxSeconds: 0 }]) {
    for (const value of ['true', '{"grace":5}', '{"id":"a","grace":5}']) {
      t.equal(parseResume(value, 'connection', { ...limits, ...off }), Status.notSupported)
    }
  }
})
