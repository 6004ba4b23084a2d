import t from 'tap'
import { RateMeter } from '../../src/cli/rate-meter.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

t.test('a rate is that of the last ten seconds, and tells when the rest is through', async t => {
  const clock = new ManualClock()
  const meter = new RateMeter(clock)
  t.equal(meter.perSecond, undefined)
  meter.add(0)
  t.equal(meter.secondsFor(100), undefined)
  for (let second = 1; second <= 60; second++) {
    clock.advance(1000)
    meter.add(second * 10)
  }
  t.equal(meter.perSecond, 10)
  t.equal(meter.secondsFor(50), 5)
  for (let second = 1; second <= 10; second++) {
    clock.advance(1000)
    meter.add(600 + second * 1000)
  }
  t.equal(meter.perSecond, 1000)
  for (let second = 1; second <= 11; second++) {
    clock.advance(1000)
    meter.add(10_600)
  }
  t.equal(meter.perSecond, 0)
  t.equal(meter.secondsFor(1), undefined)
})
