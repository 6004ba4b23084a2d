/**
 * Streams of collections against a model: clients with all kinds of filters follow a vbucket over
 * links that break, while documents change and collections come and go.
 * `SEED=… RUNS=…` replays a failure or runs longer.
 */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { seedOf } from '../resume/seed.ts'
import { committed } from '../support/bucket.ts'
import { CollectionClient } from './support/collection-client.ts'
import { everything, type Wanted } from './support/collection-history.ts'
import { openCollectionScene, type CollectionScene } from './support/collection-scene.ts'
import { quiet } from './support/scene.ts'

t.setTimeout(5 * 60_000)

/** Numbers choose among what there is when a step is done. */
interface Step {
  kind: keyof typeof weights
  which: number
  other: number
}

const weights = {
  write: 10,
  createCollection: 2,
  createScope: 1,
  dropCollection: 2,
  dropScope: 1,
  open: 3,
  receive: 8,
  cut: 4,
  toDisk: 2,
  commit: 1,
  purge: 1,
  turn: 2,
}

const steps = fc.array(
  fc.record<Step>({
    kind: fc.oneof(
      ...Object.entries(weights).map(([kind, weight]) => ({
        weight,
        arbitrary: fc.constant(kind as Step['kind']),
      })),
    ),
    which: fc.nat(10_000),
    other: fc.nat(10_000),
  }),
  { minLength: 20, maxLength: 120, size: 'max' },
)

const clientsMax = 6
const collectionsMax = 6

class Run {
  readonly place: CollectionScene
  readonly clients: CollectionClient[] = []
  readonly #names = { scope: 0, collection: 0 }

  constructor(place: CollectionScene) {
    this.place = place
  }

  readonly actions: Record<Step['kind'], (which: number, other: number) => unknown> = {
    write: (which, other) => {
      for (let count = 0; count <= other % 12; count++)
        this.#write(which + count * 7, other + count)
    },
    createCollection: async which => {
      const { collections, scopes } = this.place.history
      if (collections.size >= collectionsMax) return
      const name = `collection-${this.#names.collection++}`
      await this.place.createCollection(oneOf([...scopes.keys()], which), name)
    },
    createScope: () => this.place.createScope(`scope-${this.#names.scope++}`),
    dropCollection: async which => {
      const id = oneOf([...this.place.history.collections.keys()], which)
      // It is written to when what is on disk has to go from memory.
      if (id !== 0) await this.place.dropCollection(id)
    },
    dropScope: async which => {
      const id = oneOf([...this.place.history.scopes.keys()], which)
      if (id !== 0) await this.place.dropScope(id)
    },
    open: async (which, other) => {
      if (this.clients.length >= clientsMax) return
      const wanted = this.#wanted(which, other)
      const streamId = wanted.isAware && other % 3 === 0 ? 7 : 0
      const client = new CollectionClient(`client ${this.clients.length}`, wanted, streamId)
      this.clients.push(client)
      await client.connect(this.place.scene, this.place.history)
    },
    receive: async (which, other) => {
      await quiet()
      this.#client(which)?.link?.receive(1 + (other % 3000), this.place.history)
    },
    cut: async which => {
      const client = this.#client(which)
      if (client === undefined || client.over !== undefined) return
      if (client.link !== undefined) client.link.cut()
      else await client.connect(this.place.scene, this.place.history)
    },
    toDisk: () => this.place.scene.toDisk(),
    commit: () => committed(this.place.scene.bucket),
    purge: () => this.place.scene.purge(0),
    turn: () => quiet(),
  }

  async finish(): Promise<void> {
    const { scene, history } = this.place
    assert.equal(scene.vbucket(0).highSeqno, history.highSeqno)
    for (const client of this.clients) await this.place.complete(client)
  }

  #client(which: number): CollectionClient | undefined {
    return this.clients.length === 0 ? undefined : oneOf(this.clients, which)
  }

  #write(which: number, other: number): void {
    const { id, documents } = oneOf([...this.place.history.collections.values()], which)
    const key = `key-${other % 9}`
    if (documents.has(key) && which % 3 === 0) this.place.remove(id, key)
    else this.place.set(id, key, `value ${which} ${'.'.repeat(other % 300)}`)
  }

  #wanted(which: number, other: number): Wanted {
    const { collections, scopes } = this.place.history
    const ids = [...collections.keys()]
    const filters: Partial<Wanted>[] = [
      {},
      { isAware: false },
      { scope: oneOf([...scopes.keys()], other) },
      { collections: [oneOf(ids, other)] },
      { collections: ids.filter((_, index) => (other >> index) % 2 === 0 || index === 0) },
    ]
    return { ...everything, ...oneOf(filters, which) }
  }
}

function oneOf<Value>(values: readonly Value[], which: number): Value {
  return values[which % values.length]!
}

/** Each run has a bucket of its own, in a test of its own that closes it. */
async function run(t: Test, number: number, given: readonly Step[]): Promise<Run> {
  let made: Run | undefined
  let failure: unknown
  await t.test(`run ${number}`, async t => {
    made = new Run(await openCollectionScene(t))
    try {
      for (const { kind, which, other } of given) await made.actions[kind](which, other)
      await made.finish()
    } catch (error) {
      failure = error
    }
  })
  if (failure !== undefined) throw failure as Error
  return made!
}

t.test('every stream brings what its filter lets through, all of it, in order', async t => {
  const seed = seedOf(t)
  const numRuns = Number(process.env['RUNS'] ?? 25)
  let number = 0
  let resumed = 0
  await fc.assert(
    fc.asyncProperty(steps, async given => {
      const { clients } = await run(t, number++, given)
      resumed += clients.reduce((sum, client) => sum + client.resumed, 0)
    }),
    // What fails is made smaller, but not for ever.
    { seed, numRuns, interruptAfterTimeLimit: 60_000 + 2000 * numRuns },
  )
  t.ok(resumed >= numRuns / 4, `${resumed} streams went on where they had been cut`)
})
