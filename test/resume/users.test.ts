/** A parked snapshot is its user's. */
import { join } from 'node:path'
import t from 'tap'
import { writeUsers } from '../support/access.ts'
import { WireScene } from './wire-scene.ts'

t.setTimeout(120_000)

t.test('nobody else gets a parked snapshot, by whatever name and position', async t => {
  const scene = await WireScene.make(t, {
    vbuckets: 1,
    flags: ['--purge-hold-max', '0'],
    adminPassword: 'secret',
  })
  const { end, records } = scene
  const roles = ['dcp[default]']
  const added = scene.daemon.line('"added":["one","two"]')
  await writeUsers(
    join(scene.daemon.data, 'users.json'),
    { name: 'one', password: 'o', roles },
    { name: 'two', password: 't', roles },
  )
  await added
  const controls = { connection_buffer_size: '65536', backfill_resume: 'true' }
  const name = 'the same name'
  const as = (username: string, password: string) => ({
    name,
    controls,
    credentials: { username, password },
  })
  const owner = await scene.open(t, as('one', 'o'))
  t.equal(await owner.stream(0), 'accepted')
  await owner.received(40)
  owner.drop()
  await scene.untilParked(1)
  const { position } = owner.of(0)
  t.ok((await scene.purge(0)) > position.seqno, 'purged beyond the client')
  const thief = await scene.open(t, as('two', 't'))
  t.equal(await thief.stream(0, position), 0, 'told to begin anew, as if there were none')
  t.match(await scene.parked(), { parked_snapshots: '1' })
  const back = await scene.open(t, { ...as('one', 'o'), controls: { backfill_resume: 'true' } })
  t.equal(await back.stream(0, position), 'accepted')
  await back.received(records - owner.changes)
  t.equal(back.of(0).position.seqno, end)
  await back.quit()
  await thief.quit()
})
