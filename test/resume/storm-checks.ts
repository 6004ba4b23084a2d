import type { Test } from 'tap'
import { frameBytesMax, storm, type StormOptions, type StormResult } from './storm.ts'

/** The bucket arrives as it is, without a rollback, and nothing that had arrived comes again. */
export async function survives(t: Test, options: StormOptions): Promise<StormResult> {
  const result = await storm(t, options)
  report(t, result)
  t.same(result.problems, [], 'the stream kept its promises')
  t.same(result.differences.slice(0, 5), [], 'the copy equals the bucket')
  t.match(result.rollbacks, { client: 0, server: 0 }, 'no rollback')
  t.equal(result.bytes.receivedAgain, 0, 'nothing arrived twice')
  const { sentTwice, lost } = result.bytes
  t.ok(sentTwice <= lost, `sent twice ${sentTwice} is at most what was in flight, ${lost}`)
  const window = options.client?.bufferBytes
  if (window) {
    const { cut, 'half-open': halfOpen } = result.faults
    const bound = (cut + halfOpen) * (window + frameBytesMax)
    t.ok(sentTwice <= bound, `and at most a window for each break, ${bound}`)
  }
  return result
}

/** For people who look at what a run was like. */
export function report(t: Test, { parked, differences, reasons, ...figures }: StormResult): void {
  const { resumed, taken_over: takenOver } = Object.fromEntries(parked)
  const shown = { ...figures, differences: differences.length, resumed, takenOver }
  t.comment(JSON.stringify(shown))
  for (const line of reasons.slice(0, 3)) t.comment(line)
}
