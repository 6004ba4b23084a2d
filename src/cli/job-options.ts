import type { Command } from 'commander'

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
