/** How the storage threads begin and end. */
import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import { OperatorError } from '../errors.ts'

/**
 * Starts the compiled module `file` of this folder as a thread. Node's flags for the main thread
 * are not for it: some preload code that does not load in a thread, others, such as
 * `--max-old-space-size`, no thread accepts.
 */
export function startThread(file: string, workerData: unknown): Worker {
  return new Worker(new URL(file, import.meta.url), { workerData, execArgv: [] })
}

/**
 * Resolves when a thread has said that it is ready; fails when it could not start. One that fails
 * later ends the process: its state is unknown, going on could acknowledge what is not on disk.
 */
export async function started(worker: Worker): Promise<void> {
  try {
    await once(worker, 'message')
  } catch (error) {
    throw asOperatorError(error)
  }
  worker.on('error', error => {
    throw error
  })
}

/** Tells a thread to close and resolves when it has ended, also if it ended before. */
export async function ended(worker: Worker, close: unknown): Promise<void> {
  if (worker.threadId < 0) return
  const exit = once(worker, 'exit')
  worker.postMessage(close)
  await exit
}

/** Errors of our own lose their class on their way between threads. */
function asOperatorError(error: unknown): unknown {
  const { name, code, message, hint } = error as Partial<OperatorError>
  const isOurs = name === 'OperatorError' && code !== undefined && hint !== undefined
  return isOurs ? new OperatorError(code, message ?? '', hint, { cause: error }) : error
}
