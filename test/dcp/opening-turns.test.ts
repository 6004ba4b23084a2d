import { setImmediate as nextTurn } from 'node:timers/promises'
import t from 'tap'
import { OpeningTurns, type Opening } from '../../src/dcp/opening-turns.ts'
import { ServedLately } from '../../src/storage/served-lately.ts'
import { ManualClock } from './support/manual-clock.ts'

class ServedOpening implements Opening {
  readonly #scene: Scene

  constructor(scene: Scene) {
    this.#scene = scene
  }

  get areOthersServed(): boolean {
    return this.#scene.areOthersServed
  }

  decide(): void {
    this.#scene.decided++
  }
}

/** So many openings that wait, and how many of them have been decided. */
class Scene {
  readonly clock = new ManualClock()
  readonly turns = new OpeningTurns(this.clock)
  /** As if somebody were served before each of them. */
  isServing = false
  decided = 0
  readonly #servedLately = new ServedLately()
  #served = 0

  ask(openings: number): void {
    for (let asked = 0; asked < openings; asked++) this.turns.wait(new ServedOpening(this))
  }

  get areOthersServed(): boolean {
    if (this.isServing) this.#served++
    return this.#servedLately.look(this.#served, this.clock.monotonicMs())
  }

  /** More turns of the event loop than there are openings. */
  async pass(): Promise<void> {
    for (let turn = 0; turn < 100; turn++) await nextTurn()
  }
}

void t.test('where nobody else is served, openings are decided turn by turn', async t => {
  const scene = new Scene()
  scene.ask(50)
  await scene.pass()
  t.equal(scene.decided, 50)
})

void t.test('while documents are served, a few are decided in a millisecond', async t => {
  const scene = new Scene()
  scene.isServing = true
  scene.ask(20)
  await scene.pass()
  const few = scene.decided
  t.ok(few > 0 && few < 10, `${few} without the clock moving`)
  await scene.pass()
  t.equal(scene.decided, few)
  scene.clock.advance(1)
  await scene.pass()
  t.equal(scene.decided, 2 * few)
})

void t.test('when the serving is over, so is the rest', async t => {
  const scene = new Scene()
  scene.isServing = true
  scene.ask(50)
  await scene.pass()
  scene.isServing = false
  scene.clock.advance(100)
  await scene.pass()
  t.equal(scene.decided, 50)
})

void t.test('a close lets those who wait have their turn at once', async t => {
  const scene = new Scene()
  scene.isServing = true
  scene.ask(50)
  await scene.pass()
  scene.turns.close()
  await scene.pass()
  t.equal(scene.decided, 50)
})
