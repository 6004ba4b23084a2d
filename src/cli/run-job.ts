import type { ObjectStore } from '../backup/index.ts'
import type { Registry } from 'prom-client'
import { clientClock } from '../client/client-clock.ts'
import { withStore } from './archive-access.ts'
import type { ArchivePlace } from './archive-options.ts'
import type { JobGauges, JobMetrics, JobName } from './job-metrics.ts'
import type { JobOptions } from './job-options.ts'
import { JobReport, type JobEnd, type JobEvents } from './job-report.ts'
import type { Surroundings } from './surroundings.ts'

/** What a job has besides its own options. */
export interface JobPlace<Event> {
  readonly store: ObjectStore
  readonly signal: AbortSignal
  readonly report: (event: Event) => void
}

/** What is watched. */
export interface Job<Event> {
  readonly job: JobName
  /** If the job has to do with one that is there, not only with its backups. */
  readonly bucket?: string
  readonly events: JobEvents<Event>
  /** Loaded only for those who want a file of metrics. */
  readonly gauges: () => Promise<(registry: Registry) => JobGauges<Event>>
  readonly tellsMemory?: boolean
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
  const told = await reportOf(options, world, job)
  await told.during(
    report =>
      withStore(options, world, (store, signal) => job.work({ store, signal, report }), job.advice),
    result => job.finish(result, (performance.now() - startedMs) / 1000),
  )
}

async function reportOf<Event extends object>(
  { repo, json = false, metricsFile }: JobOptions,
  world: Surroundings,
  job: Job<Event>,
): Promise<JobReport<Event>> {
  const { job: name, bucket, events, tellsMemory = true } = job
  const labels = { repository: repo, ...(bucket === undefined ? {} : { bucket }) }
  const clock = clientClock
  let metrics: JobMetrics<Event> | undefined
  if (metricsFile !== undefined) {
    const { JobMetrics } = await import('./job-metrics.ts')
    const gauges = await job.gauges()
    metrics = new JobMetrics({ path: metricsFile, job: name, labels, clock, gauges })
  }
  return new JobReport(world, { json, events, metrics, clock, tellsMemory })
}
