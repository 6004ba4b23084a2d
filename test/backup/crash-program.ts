/**
 * A backup in a process of its own that is sent a signal at one of its crash points; told what to do by
 * one JSON argument. It stops as the command line does: at once, with what a resume needs.
 */
import { crashing, CrashPoints, watchFolder } from './crash-points.ts'
import { smallBackup, SmallPartsStore } from './s3-scene.ts'

export interface CrashProgramOptions {
  /** Of the store. */
  bucket: string
  prefix: string
  /** Of the daemon. */
  port: number
  source: string
  repository: string
  staging: string
  at: string
  signal: NodeJS.Signals
}

const options = JSON.parse(process.argv[2]!) as CrashProgramOptions
const stop = new AbortController()
for (const name of ['SIGINT', 'SIGTERM'] as const)
  process.once(name, () => stop.abort(new Error('stopped')))
const points = new CrashPoints(options.at, () => process.kill(process.pid, options.signal))
watchFolder(options.staging, points)
const store = new SmallPartsStore(options.bucket, options.prefix)
try {
  await smallBackup(crashing(store, points), {
    port: options.port,
    bucket: options.source,
    repository: options.repository,
    staging: options.staging,
    signal: stop.signal,
  })
} catch (error) {
  if (!stop.signal.aborted) throw error
  process.exitCode = 5
} finally {
  await store.close()
}
