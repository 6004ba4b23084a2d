import t from 'tap'
import { byDeadline, chooseExpired, type ParkedEntry } from '../../../src/dcp/parking/limits.ts'

const entry = (client: string, vbid: number, deadlineMs: number): ParkedEntry => ({
  client,
  place: `${client}/${vbid}`,
  deadlineMs,
})
const wide = { parkedMax: 100, parkedPerClientMax: 100 }

t.test('entries go at their deadline, not before', async t => {
  const early = entry('a', 1, 100)
  const late = entry('a', 2, 101)
  t.same(chooseExpired([late, early], wide, 99), [])
  t.same(chooseExpired([late, early], wide, 100), [{ entry: early, cause: 'deadline' }])
  t.equal(chooseExpired([late, early], wide, 101).length, 2)
})

t.test('past the limit in all the oldest deadlines go', async t => {
  const entries = [entry('a', 1, 300), entry('b', 2, 100), entry('c', 3, 200), entry('d', 4, 400)]
  const expired = chooseExpired(entries, { ...wide, parkedMax: 2 }, 0)
  t.same(expired, [
    { entry: entries[1], cause: 'parked-max' },
    { entry: entries[2], cause: 'parked-max' },
  ])
})

t.test('past the limit of a client its own go, not those of others', async t => {
  const entries = [entry('a', 1, 100), entry('b', 1, 200), entry('b', 2, 300), entry('b', 3, 250)]
  const expired = chooseExpired(entries, { ...wide, parkedPerClientMax: 2 }, 0)
  t.same(expired, [{ entry: entries[1], cause: 'parked-per-client-max' }])
})

t.test('expired entries count no more', async t => {
  const entries = [entry('a', 1, 100), entry('a', 2, 200), entry('a', 3, 300)]
  const expired = chooseExpired(entries, { parkedMax: 2, parkedPerClientMax: 2 }, 150)
  t.same(expired, [{ entry: entries[0], cause: 'deadline' }])
})

t.test('several snapshots of one vbucket count once and go together', async t => {
  const entries = [entry('a', 1, 100), entry('a', 1, 101), entry('a', 2, 200)]
  t.same(chooseExpired(entries, { ...wide, parkedPerClientMax: 2 }, 0), [])
  const expired = chooseExpired(entries, { ...wide, parkedMax: 1 }, 0)
  t.same(
    expired.map(({ entry: gone }) => gone),
    entries.slice(0, 2),
  )
})

t.test('with a limit of none, none stays', async t => {
  const entries = [entry('a', 1, 100), entry('b', 1, 200)]
  t.equal(chooseExpired(entries, { parkedMax: 0, parkedPerClientMax: 9 }, 0).length, 2)
  t.equal(chooseExpired(entries, { parkedMax: 9, parkedPerClientMax: 0 }, 0).length, 2)
})

t.test('the oldest deadline comes first', async t => {
  const entries = [entry('a', 1, 3), entry('a', 2, 1), entry('a', 3, 2)]
  t.same(
    byDeadline(entries).map(({ deadlineMs }) => deadlineMs),
    [1, 2, 3],
  )
})
