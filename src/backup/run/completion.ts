import { BackupError } from '../errors.ts'
import { pause } from '../pause.ts'
import { sizeOf, type ObjectStore, type Part, type Upload } from '../store/object-store.ts'
import type { BackupContext } from './context.ts'

const attemptsMax = 5
const firstPauseMs = 200

/**
 * What became of an upload that was to be made an object:
 *
 *   done    the object is there, of this upload and of the size of these parts
 *   gone    the store knows neither the upload nor such an object
 *   strays  it has parts that a crash kept out of the journal, and the store takes all or none
 */
export type Completion = 'done' | 'gone' | 'strays'

/**
 * Makes an object of an upload. What a store answers to that is not believed: answers are lost, or
 * say what is not so. It is done when the object is there.
 */
export async function complete(
  context: Pick<BackupContext, 'store' | 'clock' | 'signal'>,
  upload: Upload,
  parts: readonly Part[],
): Promise<Completion> {
  const { store, clock, signal } = context
  const size = sizeOf(parts)
  let failure: unknown
  for (let attempt = 0; attempt < attemptsMax; attempt++) {
    if (attempt > 0) await pause(clock, firstPauseMs * 2 ** attempt, signal)
    signal.throwIfAborted()
    if (await store.isCompleted(upload, size)) return 'done'
    try {
      await store.completeUpload(upload, parts)
      failure = undefined
    } catch (error) {
      failure = error
    }
    if (await store.isCompleted(upload, size)) return 'done'
    if (failure instanceof BackupError && !failure.mayPass) break
    signal.throwIfAborted()
    // Of what it does not know any more, radosgw says for a minute that it is being completed.
    if (failure && (await isGone(store, upload))) break
  }
  const found = await store.listParts(upload)
  if (found && found.length > parts.length) return 'strays'
  if (!found) {
    if (await store.isCompleted(upload, size)) return 'done'
    return (await isCompletedWithMore(store, upload, size)) ? 'strays' : 'gone'
  }
  const reason = failure ? `: ${(failure as Error).message}` : ', though the store says it did'
  const message = `${upload.key} cannot be completed${reason}`
  throw new BackupError('store', message, { cause: failure })
}

/** False while the store cannot tell. */
async function isGone(store: ObjectStore, upload: Upload): Promise<boolean> {
  try {
    return (await store.listParts(upload)) === undefined
  } catch {
    return false
  }
}

/** The bytes of all parts that are there: those of the journal, and whatever a crash left behind them. */
export async function completeWithStrays(context: BackupContext, upload: Upload): Promise<boolean> {
  const found = await context.store.listParts(upload)
  return found === undefined || (await complete(context, upload, found)) === 'done'
}

/** Whether the object is this upload's, and has at least so many bytes. */
export async function isCompletedWithMore(
  store: ObjectStore,
  upload: Upload,
  size: number,
): Promise<boolean> {
  const found = await store.size(upload.key)
  return found !== undefined && found >= size && (await store.isCompleted(upload, found))
}
