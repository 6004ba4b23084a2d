import { Opcode } from '../../protocol/opcode.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Log } from '../log.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { absoluteExpiry } from '../vbucket/expiry.ts'
import { Privilege, type CommandRow } from './command.ts'
import { recordAct } from './recorded-act.ts'
import type { Reply, Session } from './session.ts'

/** Timers for longer than this fire at once. */
const timerMaxMs = 2 ** 31 - 1

/** Flushes that shall happen later. A bucket has at most one: a new one replaces it. */
export class DelayedFlushes {
  readonly #clock: Clock
  readonly #log: Log
  readonly #timers = new Map<Bucket, Timer>()

  constructor(clock: Clock, log: Log) {
    this.#clock = clock
    this.#log = log
  }

  set(bucket: Bucket, atMs: number): void {
    this.cancel(bucket)
    const delayMs = Math.min(atMs - this.#clock.nowMs(), timerMaxMs)
    const timer = this.#clock.after(delayMs, () => {
      this.#timers.delete(bucket)
      if (atMs > this.#clock.nowMs()) this.set(bucket, atMs)
      else this.#flush(bucket)
    })
    this.#timers.set(bucket, timer)
  }

  cancel(bucket: Bucket): void {
    this.#timers.get(bucket)?.cancel()
    this.#timers.delete(bucket)
  }

  close(): void {
    for (const bucket of this.#timers.keys()) this.cancel(bucket)
  }

  #flush(bucket: Bucket): void {
    bucket.flush().catch((err: unknown) => {
      this.#log.error({ bucket: bucket.name, err }, 'a delayed flush failed')
    })
  }
}

/** Extras, if there are any: when, like an expiry; 0 and none mean now. */
async function flush(session: Session, frame: Frame): Promise<Reply> {
  const { node, clock, id } = session
  const bucket = session.bucket!
  const at = frame.extrasLength > 0 ? frame.extrasUint32(0) : 0
  const nowMs = clock.nowMs()
  const atMs = absoluteExpiry(at, Math.floor(nowMs / 1000)) * 1000
  session.log.info({ connection: id, bucket: bucket.name, at }, 'flush asked for')
  recordAct(session, 'bucket-flushed', bucket.name)
  if (atMs > nowMs) {
    bucket.shape.assertFlushable()
    node.flushes.set(bucket, atMs)
  } else {
    node.flushes.cancel(bucket)
    await bucket.flush()
  }
  return {}
}

const flushing = {
  extras: [0, 4],
  key: 'none',
  value: 'none',
  target: 'bucket',
  privilege: Privilege.admin,
  // What follows must not be flushed too.
  barrier: true,
  runLater: flush,
} as const

export const flushRows: readonly CommandRow[] = [
  { ...flushing, opcode: Opcode.flush },
  { ...flushing, opcode: Opcode.flushq, quiet: 'success' },
]
