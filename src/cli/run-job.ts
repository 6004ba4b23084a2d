import type { ObjectStore } from '../backup/index.ts'
import { withStore, type ArchivePlace } from './archive-options.ts'
import { reportOf, type Job, type JobOptions } from './job-options.ts'
import type { JobEnd } from './job-report.ts'
import type { Surroundings } from './surroundings.ts'

/** What a job has besides its own options. */
export interface JobPlace<Event> {
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly report: (event: Event) => void
}

export interface StoreJob<Event extends object, Result> extends Job<Event> {
  /** What to do when it was stopped. */
  readonly advice?: string
  work(place: JobPlace<Event>): Promise<Result>
  /** `seconds`: how long it took. */
  finish(result: Result, seconds: number): JobEnd
}

/** Opens the archive, runs the job, and tells how it is getting on and how it ended. */
export async function runJob<Event extends object, Result>(
  options: ArchivePlace & JobOptions,
  world: Surroundings,
  job: StoreJob<Event, Result>,
): Promise<void> {
  const startedMs = performance.now()
  await reportOf(options, world, job).during(
    report =>
      withStore(options, world, (store, signal) => job.work({ store, signal, report }), job.advice),
    result => job.finish(result, (performance.now() - startedMs) / 1000),
  )
}
