import type { Clock } from '../clock.ts'
import { describeFailure, ExitCode } from './exit-code.ts'
import type { JobMetrics } from './job-metrics.ts'
import { RateMeter } from './rate-meter.ts'
import { durationText, sizeText } from './sizes.ts'
import { StatusLine } from './status-line.ts'
import type { Surroundings } from './surroundings.ts'

/** How far a job is, for the line on a terminal. */
export interface Progress {
  /** In units of which one takes about as long as another. */
  readonly done: number
  readonly total: number
  readonly changes: number
  readonly documentBytes: number
}

export interface JobEvents<Event> {
  /** Undefined for events that are no progress. */
  progressOf(event: Event): Progress | undefined
  /** A line worth reading; undefined for events that are not. */
  textOf(event: Event): string | undefined
}

/**
 * Tells what a long job does: as lines of JSON on standard output; or as lines on standard error, with
 * one that changes in place if that is a terminal; and in a file of metrics, if there is one.
 */
export class JobReport<Event extends object> {
  readonly #world: Surroundings
  readonly #json: boolean
  readonly #events: JobEvents<Event>
  readonly #metrics: JobMetrics<Event> | undefined
  readonly #line: StatusLine
  readonly #doneMeter: RateMeter
  readonly #byteMeter: RateMeter

  constructor(
    world: Surroundings,
    options: {
      json: boolean
      events: JobEvents<Event>
      metrics: JobMetrics<Event> | undefined
      clock: Clock
    },
  ) {
    this.#world = world
    this.#json = options.json
    this.#events = options.events
    this.#metrics = options.metrics
    this.#line = new StatusLine(world.stderr)
    this.#doneMeter = new RateMeter(options.clock)
    this.#byteMeter = new RateMeter(options.clock)
  }

  /** Runs the job, and tells how it ended: with `finish` if it did well. */
  async during<T>(
    job: (report: (event: Event) => void) => Promise<T>,
    finish: (result: T) => { json: object; text: string },
  ): Promise<void> {
    await this.#metrics?.begin()
    try {
      const result = await job(event => this.#report(event))
      this.#line.end()
      const { json, text } = finish(result)
      const memoryBytes = process.resourceUsage().maxRSS * 1024
      const told = { ...json, memoryBytes }
      const line = `${text.trimEnd()}, at most ${sizeText(memoryBytes)} of memory\n`
      this.#world.stdout.write(this.#json ? `${JSON.stringify(told)}\n` : line)
      await this.#metrics?.end(ExitCode.success)
    } catch (error) {
      this.#line.end()
      const { exitCode, line } = describeFailure(error)
      if (this.#json) {
        const failed = { type: 'failed', exitCode, message: line.trim() }
        this.#world.stdout.write(`${JSON.stringify(failed)}\n`)
      }
      await this.#metrics?.end(exitCode)
      throw error
    }
  }

  #report(event: Event): void {
    this.#metrics?.observe(event)
    if (this.#json) {
      this.#world.stdout.write(`${JSON.stringify(event)}\n`)
      return
    }
    const progress = this.#events.progressOf(event)
    if (progress) this.#line.show(this.#progressText(progress))
    const text = this.#events.textOf(event)
    if (text === undefined) return
    this.#line.end()
    this.#world.stderr.write(`holdfast: ${text}\n`)
  }

  #progressText({ done, total, changes, documentBytes }: Progress): string {
    this.#doneMeter.add(done)
    this.#byteMeter.add(documentBytes)
    const percent = (total === 0 ? 100 : (100 * done) / total).toFixed(1)
    const rate = this.#byteMeter.perSecond
    const seconds = this.#doneMeter.secondsFor(total - done)
    const speed = rate === undefined ? '' : `, ${sizeText(Math.round(rate))}/s`
    const left = seconds === undefined ? '' : `, ${durationText(seconds)} left`
    return `${percent} %: ${changes} changes, ${sizeText(documentBytes)}${speed}${left}`
  }
}
