import type { Command } from 'commander'
import type { Registry } from 'prom-client'
import { clientClock } from '../client/client-clock.ts'
import { JobMetrics, type JobGauges, type JobName } from './job-metrics.ts'
import { JobReport, type JobEvents } from './job-report.ts'
import type { Surroundings } from './surroundings.ts'

/** How a long job is watched. */
export interface JobOptions {
  repo: string
  json?: boolean
  metricsFile?: string
}

export function addJobOptions(command: Command): Command {
  return command
    .option('--json', 'what happens, as lines of JSON')
    .option('--metrics-file <path>', 'keep figures for Prometheus in this file meanwhile')
}

/** What is watched. */
export interface Job<Event> {
  readonly job: JobName
  /** If the job has to do with one that is there, not only with its backups. */
  readonly bucket?: string
  readonly events: JobEvents<Event>
  readonly gauges: (registry: Registry) => JobGauges<Event>
  readonly tellsMemory?: boolean
}

export function reportOf<Event extends object>(
  { repo, json = false, metricsFile }: JobOptions,
  world: Surroundings,
  job: Job<Event>,
): JobReport<Event> {
  const { job: name, bucket, events, gauges, tellsMemory = true } = job
  const labels = { repository: repo, ...(bucket === undefined ? {} : { bucket }) }
  const clock = clientClock
  const metrics =
    metricsFile === undefined
      ? undefined
      : new JobMetrics({ path: metricsFile, job: name, labels, clock, gauges })
  return new JobReport(world, { json, events, metrics, clock, tellsMemory })
}
