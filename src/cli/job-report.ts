import type { Clock } from '../clock.ts'
import { describeFailure, ExitCode, type CommandError } from './exit-code.ts'
import type { JobMetrics } from './job-metrics.ts'
import { RateMeter } from './rate-meter.ts'
import { durationText, sizeText } from './sizes.ts'
import { StatusLine } from './status-line.ts'
import type { Surroundings } from './surroundings.ts'

/** How far a job is, for the line on a terminal. */
export interface Progress {
  /** In units of which one takes about as long as another. */
  readonly done: number
  /** Undefined if nobody knows. */
  readonly total: number | undefined
  /** What was done, in words. */
  readonly text: string
  /** Whose rate is shown. */
  readonly bytes: number
}

export interface JobEvents<Event> {
  /** Undefined for events that are no progress. */
  progressOf(event: Event): Progress | undefined
  /** A line worth reading; undefined for events that are not. */
  textOf(event: Event): string | undefined
  /** A line of what the job was started for, which goes to standard output. */
  resultOf?(event: Event): string | undefined
}

/** What is told of a job that has come to its end. */
export interface JobEnd {
  readonly json: object
  /** Ends with the end of a line. */
  readonly text: string
  /** It did what it was to do, and what it found is an error. */
  readonly failure?: CommandError | undefined
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
  readonly #tellsMemory: boolean
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
      /** At the end, how much of it the process had at most. */
      tellsMemory?: boolean
    },
  ) {
    this.#world = world
    this.#json = options.json
    this.#events = options.events
    this.#metrics = options.metrics
    this.#tellsMemory = options.tellsMemory ?? true
    this.#line = new StatusLine(world.stderr)
    this.#doneMeter = new RateMeter(options.clock)
    this.#byteMeter = new RateMeter(options.clock)
  }

  /** Runs the job, and tells how it ended: with `finish` if it did well. */
  async during<T>(
    job: (report: (event: Event) => void) => Promise<T>,
    finish: (result: T) => JobEnd,
  ): Promise<void> {
    await this.#metrics?.begin()
    let end: JobEnd
    try {
      end = finish(await job(event => this.#report(event)))
    } catch (error) {
      this.#line.end()
      const { exitCode, line } = describeFailure(error)
      if (this.#json) this.#tell({ type: 'failed', exitCode, message: line.trim() })
      await this.#metrics?.end(exitCode)
      throw error
    }
    this.#line.end()
    this.#tellEnd(end)
    await this.#metrics?.end(end.failure?.exitCode ?? ExitCode.success)
    if (end.failure) throw end.failure
  }

  #tellEnd({ json, text }: JobEnd): void {
    const memoryBytes = process.resourceUsage().maxRSS * 1024
    const memory = this.#tellsMemory ? `, at most ${sizeText(memoryBytes)} of memory` : ''
    if (this.#json) this.#tell(this.#tellsMemory ? { ...json, memoryBytes } : json)
    else this.#world.stdout.write(`${text.trimEnd()}${memory}\n`)
  }

  #tell(line: object): void {
    this.#world.stdout.write(`${JSON.stringify(line)}\n`)
  }

  #report(event: Event): void {
    this.#metrics?.observe(event)
    if (this.#json) return this.#tell(event)
    const progress = this.#events.progressOf(event)
    if (progress) this.#line.show(this.#progressText(progress))
    const text = this.#events.textOf(event)
    const result = this.#events.resultOf?.(event)
    if (text === undefined && result === undefined) return
    this.#line.end()
    if (text !== undefined) this.#world.stderr.write(`holdfast: ${text}\n`)
    if (result !== undefined) this.#world.stdout.write(`${result}\n`)
  }

  #progressText({ done, total, text, bytes }: Progress): string {
    this.#doneMeter.add(done)
    this.#byteMeter.add(bytes)
    const rate = this.#byteMeter.perSecond
    const speed = rate === undefined ? '' : `, ${sizeText(Math.round(rate))}/s`
    const line = `${text}, ${sizeText(bytes)}${speed}`
    if (total === undefined) return line
    const percent = (total === 0 ? 100 : (100 * done) / total).toFixed(1)
    const seconds = this.#doneMeter.secondsFor(total - done)
    const left = seconds === undefined ? '' : `, ${durationText(seconds)} left`
    return `${percent} %: ${line}${left}`
  }
}
