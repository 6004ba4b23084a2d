import t from 'tap'
import { atTurnEnd, runTurn, soonInTurn } from '../src/turn-end.ts'

const nextImmediate = () => new Promise<void>(resolve => setImmediate(resolve))

t.test('the end of a turn comes behind all that it has brought, in the same turn', async t => {
  const ran: string[] = []
  const ended = new Promise<void>(resolve => {
    setImmediate(() => {
      setImmediate(resolve)
      runTurn(() => {
        atTurnEnd(() => {
          ran.push('end')
          soonInTurn(() => ran.push('asked for at the end'))
        })
        soonInTurn(() => ran.push('soon'))
        ran.push('request')
      })
      ran.push('behind the turn')
    })
  })
  await ended
  t.same(ran, ['request', 'end', 'soon', 'asked for at the end', 'behind the turn'])
})

t.test('what is asked for while no turn is run happens by itself, and once', async t => {
  const ran: string[] = []
  atTurnEnd(() => ran.push('end'))
  atTurnEnd(() => ran.push('end, too'))
  soonInTurn(() => ran.push('soon'))
  t.same(ran, [])
  await nextImmediate()
  t.same(ran, ['soon', 'end', 'end, too'])
  await nextImmediate()
  t.equal(ran.length, 3)
})

t.test('a turn takes along what was asked for before it', async t => {
  const ran: string[] = []
  atTurnEnd(() => ran.push('end'))
  runTurn(() => ran.push('request'))
  t.same(ran, ['request', 'end'])
  await nextImmediate()
  t.equal(ran.length, 2)
})
