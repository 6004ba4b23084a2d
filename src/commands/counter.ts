import { decodeCounterExtras, encodeCounterValue } from '../../protocol/commands/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { count } from '../vbucket/counters.ts'
import { Privilege, type CommandRow, type Run } from './command.ts'
import { replyMutation } from './mutation-reply.ts'
import { requestOf } from './store-request.ts'

/** Extras: delta, initial value, expiry of a counter that is made. */
function counter(isDecrement: boolean): Run {
  return (session, frame, vbucket, command) => {
    const { delta, initial, expiry } = decodeCounterExtras(frame)!
    const request = requestOf(session, frame)
    request.expiry = expiry
    const result = count(session.documents, vbucket, request, { delta, initial, isDecrement })
    if (typeof result === 'number') return result
    return replyMutation(session, frame, vbucket, command, encodeCounterValue(result))
  }
}

const counting = {
  extras: [20],
  key: 'required',
  value: 'none',
  target: 'active',
  // The answer is the number.
  privilege: Privilege.read | Privilege.write,
  writes: true,
} as const
const increment = { ...counting, run: counter(false) }
const decrement = { ...counting, run: counter(true) }

export const counterRows: readonly CommandRow[] = [
  { ...increment, opcode: Opcode.increment },
  { ...increment, opcode: Opcode.incrementq, quiet: 'success' },
  { ...decrement, opcode: Opcode.decrement },
  { ...decrement, opcode: Opcode.decrementq, quiet: 'success' },
]
