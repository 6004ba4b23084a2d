import t from 'tap'
import { OutputSlab } from '../../src/server/output-slab.ts'
import { Turn, type TurnReader } from '../../src/server/turn.ts'

/** Readers that note what they are given. */
function scene() {
  const slab = new OutputSlab()
  const turn = new Turn(slab)
  const ran: string[] = []
  const reader = (name: string): TurnReader => ({
    changes: undefined,
    hasCollections: false,
    runKept: chunk => void ran.push(`${name}: ${chunk.toString()}`),
  })
  return { slab, turn, ran, reader }
}

t.test('what was kept runs at the end of the turn, in order, as it was when it came', async t => {
  const { turn, ran, reader } = scene()
  const shared = Buffer.alloc(4096)
  const read = (of: TurnReader, text: string) => turn.keep(of, shared, shared.write(text))
  const [one, two] = [reader('one'), reader('two')]
  t.ok(read(one, 'first'))
  t.ok(read(two, 'second'))
  t.ok(read(one, 'x'.repeat(100)))
  t.same(ran, [])
  await new Promise(resolve => setImmediate(resolve))
  t.same(ran, ['one: first', 'two: second', `one: ${'x'.repeat(100)}`])
  await new Promise(resolve => setImmediate(resolve))
  t.equal(ran.length, 3)
})

t.test(
  'what has to go past it runs it first; what is large or does not fit is not kept',
  async t => {
    const { turn, ran, reader } = scene()
    const one = reader('one')
    t.notOk(turn.keep(one, Buffer.alloc(4096), 4096))
    t.ok(turn.keep(one, Buffer.from('first'), 5))
    turn.run()
    t.same(ran, ['one: first'])
    t.ok(turn.keep(one, Buffer.from('second'), 6))
    let kept = 0
    while (turn.keep(one, Buffer.alloc(2048), 2048)) kept++
    t.equal(kept, 31)
    turn.run()
    t.equal(ran[1], 'one: second')
  },
)

t.test('answers leave with the turn; nothing is kept while it runs', async t => {
  const { slab, turn } = scene()
  const written: string[] = []
  const target = {
    takesAtOnce: true,
    deliver: (bytes: Buffer) => (written.push(bytes.toString()), true),
  }
  let wasKept: boolean | undefined
  const answering: TurnReader = {
    changes: undefined,
    hasCollections: false,
    runKept(chunk) {
      slab.open(target)
      const at = slab.reserve(chunk.length)
      chunk.copy(slab.buffer, at)
      slab.close(true)
      wasKept = turn.keep(answering, chunk, chunk.length)
      turn.run()
    },
  }
  t.ok(turn.keep(answering, Buffer.from('answer'), 6))
  await new Promise(resolve => setImmediate(resolve))
  t.same(written, ['answer'])
  t.equal(wasKept, false)
})
