import { startDaemon, type DaemonProcess } from '../test/support/start-daemon.ts'
import type { Context } from './benchmark.ts'

/** A daemon of this build, ended with the case. `data` is that of an earlier one. */
export async function benchmarkDaemon(
  context: Context,
  flags: readonly string[],
  data?: string,
): Promise<DaemonProcess> {
  const test = {
    teardown: (end: () => Promise<unknown>) => context.cleanUp(end),
    testdir: () => context.folder,
  }
  return await startDaemon(test, data === undefined ? { flags } : { flags, data })
}
