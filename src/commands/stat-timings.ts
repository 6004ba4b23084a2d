import { opcodeName } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Session } from './session.ts'
import type { AddStatistic } from './stat.ts'

/** Of each command, about how many took from a to b microseconds: one in 32 is timed. */
export function timings(session: Session, add: AddStatistic): Status {
  for (let opcode = 0; opcode < 256; opcode++) {
    const counts = session.node.traffic.latenciesOf(opcode)
    for (const [place, count] of counts.entries()) {
      if (count === 0) continue
      const from = place === 0 ? 0 : 2 ** (place - 1)
      add(`${opcodeName(opcode)}_${from},${2 ** place}`, count)
    }
  }
  return Status.success
}
