import { writeFile, rename, rm } from 'node:fs/promises'
import { dirname, join } from 'node:path'
import { randomUUID } from 'node:crypto'
import { Gauge, Registry } from 'prom-client'
import type { Clock, Timer } from '../clock.ts'
import { CommandError, ExitCode } from './exit-code.ts'

const writeIntervalMs = 5_000

/** Part of every metric's name. */
export type JobName = 'backup' | 'restore' | 'verify' | 'merge' | 'remove'

/** What is counted of a job besides when it began and how it ended. */
export interface JobGauges<Event> {
  observe(event: Event): void
}

/** Makes gauges that are named after the job. */
export function gaugesOf(job: JobName, registry: Registry) {
  const registers = [registry]
  return <Label extends string>(name: string, help: string, labelNames: readonly Label[] = []) =>
    new Gauge<Label>({ name: `holdfast_${job}_${name}`, help, labelNames, registers })
}

/**
 * The file in which Prometheus' node exporter, or whoever else, finds how a job is getting on. It is
 * replaced as a whole, every few seconds and at the end.
 */
export class JobMetrics<Event> {
  readonly #path: string
  readonly #clock: Clock
  readonly #registry: Registry
  readonly #gauges: JobGauges<Event>
  readonly #began: Gauge
  readonly #ended: Gauge
  readonly #exitCode: Gauge
  #timer: Timer | undefined
  #writing: Promise<void> = Promise.resolve()

  constructor(options: {
    path: string
    job: JobName
    /** Of all metrics. */
    labels: Record<string, string>
    clock: Clock
    gauges: (registry: Registry) => JobGauges<Event>
  }) {
    const { path, job, labels, clock, gauges } = options
    this.#path = path
    this.#clock = clock
    this.#registry = new Registry()
    this.#registry.setDefaultLabels(labels)
    const gauge = gaugesOf(job, this.#registry)
    this.#began = gauge('start_timestamp_seconds', 'When the run began.')
    this.#ended = gauge('end_timestamp_seconds', 'When the run ended; 0 while it is under way.')
    this.#exitCode = gauge('exit_code', 'How it ended: 0 is well; -1 while it is under way.')
    this.#gauges = gauges(this.#registry)
  }

  /** Fails if the file cannot be written: better now than after hours. */
  async begin(): Promise<void> {
    this.#began.set(this.#clock.nowMs() / 1000)
    this.#exitCode.set(-1)
    try {
      await this.#write()
    } catch (cause) {
      const message = `metrics file: ${(cause as Error).message}`
      throw new CommandError(ExitCode.store, message, { cause })
    }
    this.#timer = this.#clock.every(writeIntervalMs, () => void this.#writeSoon())
  }

  observe(event: Event): void {
    this.#gauges.observe(event)
  }

  async end(exitCode: number): Promise<void> {
    this.#timer?.cancel()
    this.#ended.set(this.#clock.nowMs() / 1000)
    this.#exitCode.set(exitCode)
    await this.#writeSoon()
  }

  /** The job matters more than its metrics: a file that cannot be written stays as it is. */
  #writeSoon(): Promise<void> {
    this.#writing = this.#writing.then(() => this.#write().catch(() => {}))
    return this.#writing
  }

  async #write(): Promise<void> {
    const aside = join(dirname(this.#path), `.${randomUUID()}.tmp`)
    try {
      await writeFile(aside, await this.#registry.metrics())
      await rename(aside, this.#path)
    } catch (error) {
      await rm(aside, { force: true })
      throw error
    }
  }
}
