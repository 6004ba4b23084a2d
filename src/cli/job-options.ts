import type { Command } from 'commander'
import type { Registry } from 'prom-client'
import { clientClock } from '../client/client-clock.ts'
import { JobMetrics, type JobGauges } from './job-metrics.ts'
import { JobReport, type JobEvents } from './job-report.ts'
import type { Surroundings } from './surroundings.ts'

/** How a long job is watched. */
export interface JobOptions {
  repo: string
  bucket: string
  json?: boolean
  metricsFile?: string
}

export function addJobOptions(command: Command): Command {
  return command
    .option('--json', 'what happens, as lines of JSON')
    .option('--metrics-file <path>', 'keep figures for Prometheus in this file meanwhile')
}

export function reportOf<Event extends object>(
  { repo, bucket, json = false, metricsFile }: JobOptions,
  world: Surroundings,
  job: {
    job: 'backup' | 'restore'
    events: JobEvents<Event>
    gauges: (registry: Registry) => JobGauges<Event>
  },
): JobReport<Event> {
  const { events, gauges } = job
  const labels = { repository: repo, bucket }
  const clock = clientClock
  const metrics =
    metricsFile === undefined
      ? undefined
      : new JobMetrics({ path: metricsFile, job: job.job, labels, clock, gauges })
  return new JobReport(world, { json, events, metrics, clock })
}
