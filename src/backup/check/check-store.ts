import { randomUUID } from 'node:crypto'
import { clientClock } from '../../client/client-clock.ts'
import type { Clock } from '../../clock.ts'
import { BackupError } from '../errors.ts'
import { pause } from '../pause.ts'
import type { ObjectStore } from '../store/object-store.ts'
import { abortUploadsBelow } from '../store/uploads-below.ts'
import { Limited, probes, type ProbeScene } from './probes.ts'

export interface StoreCheckOptions {
  store: ObjectStore
  /** For all probes together; what is not through by then has failed. */
  timeoutMs?: number
  signal: AbortSignal
  report: (event: ProbeEvent) => void
  clock?: Clock
}

export interface ProbeEvent {
  readonly type: 'probe'
  readonly name: string
  /** `limited`: it works, but not as well as it could. */
  readonly result: 'ok' | 'limited' | 'failed'
  readonly message: string
  readonly ms: number
}

export interface StoreCheckResult {
  readonly ok: number
  readonly limited: number
  readonly failed: number
  /** What could not be removed again. */
  readonly left: readonly string[]
}

const defaultTimeoutMs = 60_000
/** Of all the time, for removing what the probes have made. */
const sweepShare = 0.25

/**
 * Tries what backups need of a store, below a prefix that nobody else has, and removes what it has
 * made. The store cannot do it if one of the probes fails.
 */
export async function checkStore(options: StoreCheckOptions): Promise<StoreCheckResult> {
  const { store, report, clock = clientClock, timeoutMs = defaultTimeoutMs } = options
  const prefix = `storage-check-${randomUUID()}/`
  const scene: ProbeScene = { store, prefix, clock, begun: undefined }
  const counts = { ok: 0, limited: 0, failed: 0 }
  const deadline = clock.monotonicMs() + timeoutMs * (1 - sweepShare)
  for (const probe of probes) {
    const startedMs = clock.monotonicMs()
    let result: ProbeEvent['result'] = 'ok'
    let message: string
    try {
      options.signal.throwIfAborted()
      const found = await within(clock, deadline - startedMs, options.signal, probe.run(scene))
      result = found instanceof Limited ? 'limited' : 'ok'
      message = found instanceof Limited ? found.message : found
    } catch (error) {
      if (options.signal.aborted) {
        await sweep(scene).catch(() => {})
        throw error
      }
      result = 'failed'
      message = (error as Error).message
    }
    counts[result]++
    const ms = Math.round(clock.monotonicMs() - startedMs)
    report({ type: 'probe', name: probe.name, result, message, ms })
    // What takes nothing, or is not there at all, is not worth the time of the others.
    if (result === 'failed' && probe === probes[0]) return { ...counts, left: [] }
  }
  const left = await within(clock, timeoutMs * sweepShare, options.signal, sweep(scene)).catch(
    (error: Error) => [`${scene.prefix}: ${error.message}`],
  )
  return { ...counts, left }
}

/** What comes of `work`, unless it takes longer. */
async function within<T>(
  clock: Clock,
  timeMs: number,
  signal: AbortSignal,
  work: Promise<T>,
): Promise<T> {
  // Whoever is too late is not waited for, nor heard of.
  work.catch(() => {})
  const ending = new AbortController()
  const late = pause(clock, Math.max(0, timeMs), AbortSignal.any([signal, ending.signal]))
  const tooLate = late.then(() => {
    signal.throwIfAborted()
    throw new BackupError('store', 'it took too long')
  })
  tooLate.catch(() => {})
  try {
    return await Promise.race([work, tooLate])
  } finally {
    ending.abort()
  }
}

const roundsMax = 3

/** Answers with what does not go away. */
async function sweep({ store, prefix, begun }: ProbeScene): Promise<string[]> {
  let left: string[] = []
  for (let round = 0; round < roundsMax; round++) {
    const uploads: { key: string }[] = await abortUploadsBelow(store, prefix, 1).catch(
      async (error: Error) => {
        // Of those that cannot be listed one is known.
        if (begun) await store.abortUpload(begun.upload)
        return [{ key: `perhaps uploads below ${prefix}: ${error.message}` }]
      },
    )
    const keys: string[] = []
    for await (const { key } of store.list(prefix)) keys.push(key)
    for (const key of keys) await store.remove(key)
    left = [...uploads.map(({ key }) => key), ...keys]
    if (left.length === 0) return []
  }
  return left
}
