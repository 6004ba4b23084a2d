/**
 * Random runs of a client whose link breaks again and again while documents change and every
 * tombstone that nobody holds is purged at once. `SEED=n` repeats one run.
 */
import { strict as assert } from 'node:assert'
import t, { type Test } from 'tap'
import { StreamEndReason } from '../../protocol/dcp/index.ts'
import { Status } from '../../protocol/status.ts'
import type { DcpSettings } from '../../src/dcp/settings.ts'
import { committed } from '../support/bucket.ts'
import { Consumer } from './support/consumer.ts'
import { openScene, quiet, until, type Link, type Scene } from './support/scene.ts'

interface Mode {
  name: string
  settings: Partial<DcpSettings>
  controls: Record<string, string>
  /** Connection names change with every connect. */
  renames: boolean
}

const flowing = { connection_buffer_size: '9000' }
const modes: Mode[] = [
  {
    name: 'the pin alone, by name, without flow control',
    settings: { purgeHoldMaxSeconds: 0 },
    controls: { backfill_resume: 'true' },
    renames: false,
  },
  {
    name: 'the pin alone, by id, with flow control',
    settings: { purgeHoldMaxSeconds: 0 },
    controls: { backfill_resume: '{"id":"me"}', ...flowing },
    renames: true,
  },
  {
    name: 'durable holds, by name, with flow control',
    settings: {},
    controls: { backfill_resume: 'true', ...flowing },
    renames: false,
  },
  {
    name: 'by what the client presents',
    settings: { purgeHoldMaxSeconds: 0, backfillResumeDefault: true },
    controls: {},
    renames: true,
  },
]
const off: Mode = { name: 'without it', settings: {}, controls: {}, renames: false }

const vbids = [0, 1, 2]
const stepsPerRun = 250

/** mulberry32: small, and the same everywhere. */
function random(seed: number): (below: number) => number {
  let state = seed
  return below => {
    state = (state + 0x6d2b79f5) | 0
    let bits = Math.imul(state ^ (state >>> 15), 1 | state)
    bits = (bits + Math.imul(bits ^ (bits >>> 7), 61 | bits)) ^ bits
    return ((bits ^ (bits >>> 14)) >>> 0) % below
  }
}

class Run {
  readonly scene: Scene
  readonly mode: Mode
  readonly below: (limit: number) => number
  readonly consumer: Consumer
  link: Link | undefined
  rollbacks = 0
  cuts = 0
  #acked = 0
  #names = 0
  #endsSeen = 0

  constructor(scene: Scene, mode: Mode, seed: number) {
    this.scene = scene
    this.mode = mode
    this.below = random(seed)
    // Clients differ in when they take up a marker.
    this.consumer = new Consumer({ isEager: seed % 2 === 0 })
  }

  async connect(): Promise<void> {
    const name = this.mode.renames ? `client-${this.#names++}` : 'client'
    const { controls } = this.mode
    this.link = this.scene.connect({ name, controls, consumer: this.consumer })
    this.link.output.stall()
    this.#acked = this.consumer.countedBytes
    for (const vbid of vbids) await this.ask(vbid)
  }

  async ask(vbid: number): Promise<void> {
    const { scene, consumer, link } = this
    for (;;) {
      const status = await scene.stream(link!, vbid)
      if (status === Status.success) return
      assert.equal(status, Status.rollback)
      this.rollbacks++
      consumer.rollBack(vbid)
    }
  }

  /** Streams that the server ended are asked for again. */
  async askAgain(): Promise<void> {
    const { ends } = this.consumer
    while (this.#endsSeen < ends.length) {
      const { vbid, reason } = ends[this.#endsSeen++]!
      if (reason === StreamEndReason.disconnected) continue
      assert.equal(reason, StreamEndReason.rollback)
      if (this.link !== undefined) await this.ask(vbid)
    }
  }

  /** The link delivers some of what is queued, perhaps half a frame. */
  async receive(): Promise<void> {
    const { link, below } = this
    if (link === undefined) return
    await quiet()
    link.output.take(1 + below(6000))
    const { controls } = this.mode
    const unacked = this.consumer.countedBytes - this.#acked
    if (controls['connection_buffer_size'] !== undefined && unacked > 4500) {
      link.producer.bufferAcknowledge(unacked)
      this.#acked += unacked
    }
    await this.askAgain()
  }

  write(): void {
    const { scene, below } = this
    for (let count = 1 + below(40); count > 0; count--) {
      const vbid = vbids[below(vbids.length)]!
      const key = `key-${below(150)}`
      const lives = scene.documents(vbid).has(key)
      if (lives && below(3) === 0) scene.remove(vbid, key)
      else scene.set(vbid, key, `${key} ${below(1000)} ${'.'.repeat(below(200))}`)
    }
  }

  async cut(): Promise<void> {
    const { link, below } = this
    if (link === undefined) {
      await this.connect()
      return
    }
    this.cuts++
    this.link = undefined
    // Half-open: the server does not know, and a new connection comes first.
    const isHalfOpen = below(3) === 0
    if (!isHalfOpen) link.producer.disconnected(false)
    if (isHalfOpen || below(2) === 0) await this.connect()
    if (isHalfOpen) link.producer.disconnected(false)
  }

  async step(): Promise<void> {
    const { scene, below } = this
    const dice = below(100)
    if (dice < 25) this.write()
    else if (dice < 60) await this.receive()
    else if (dice < 75) await scene.purge(vbids[below(vbids.length)]!)
    else if (dice < 83) await scene.toDisk()
    else if (dice < 88) scene.clock.advance(below(2000))
    else if (dice < 97) await this.cut()
    else await committed(scene.bucket)
  }

  async finish(): Promise<void> {
    const { scene, consumer } = this
    if (this.link === undefined) await this.connect()
    const { link } = this
    link!.output.flow()
    const isDone = () =>
      vbids.every(vbid => consumer.state(vbid).seqno === scene.vbucket(vbid).highSeqno)
    const acks = setInterval(() => link!.producer.bufferAcknowledge(1_000_000), 1)
    const asks = setInterval(() => void this.askAgain(), 1)
    try {
      await until('everything has arrived', isDone)
    } finally {
      clearInterval(acks)
      clearInterval(asks)
    }
    for (const vbid of vbids) {
      assert.deepEqual(new Map(consumer.state(vbid).documents), scene.documents(vbid))
    }
  }
}

async function simulate(test: Test, mode: Mode, seed: number): Promise<Run> {
  const scene = await openScene(test, mode.settings)
  const run = new Run(scene, mode, seed)
  for (const vbid of vbids) scene.fill(vbid, 150, { deleteEvery: 4 })
  await scene.toDisk()
  await run.connect()
  try {
    for (let step = 0; step < stepsPerRun; step++) await run.step()
    await run.finish()
  } catch (error) {
    const faults = scene.lines.filter(({ level }) => level === 'error')
    throw new Error(`${mode.name}, SEED=${seed}: ${JSON.stringify(faults)}`, { cause: error })
  }
  return run
}

const seeds = process.env['SEED'] ? [Number(process.env['SEED'])] : [1, 2]

for (const mode of modes) {
  t.test(`${mode.name}: everything arrives, nothing twice, no rollback`, async t => {
    for (const seed of seeds) {
      const run = await simulate(t, mode, seed)
      const why = run.scene.logged('client has to roll back').map(({ fields }) => fields)
      t.same(why, [])
      t.equal(run.rollbacks, 0, `no rollback in ${run.cuts} cuts, SEED=${seed}`)
      t.ok(run.cuts > 10)
      const { counters } = run.scene.service
      t.ok(counters.resumed > 0, `${counters.resumed} snapshots resumed`)
    }
  })
}

t.test('without it the same runs have rollbacks, and everything arrives still', async t => {
  for (const seed of seeds) {
    const run = await simulate(t, off, seed)
    t.ok(run.rollbacks > 0, `${run.rollbacks} rollbacks in ${run.cuts} cuts, SEED=${seed}`)
  }
})
