import type { BackupEvent } from '../backup/index.ts'
import { durationText, sizeText } from './sizes.ts'
import { StatusLine } from './status-line.ts'
import type { Surroundings } from './surroundings.ts'

/**
 * Tells what a backup does: as lines of JSON on standard output; or as lines on standard error, with
 * one that changes in place if that is a terminal.
 */
export class BackupProgress {
  readonly #world: Surroundings
  readonly #json: boolean
  readonly #line: StatusLine
  readonly #startedMs = performance.now()

  constructor(world: Surroundings, json: boolean) {
    this.#world = world
    this.#json = json
    this.#line = new StatusLine(world.stderr)
  }

  report(event: BackupEvent): void {
    if (this.#json) {
      this.#world.stdout.write(`${JSON.stringify(event)}\n`)
      return
    }
    if (event.type === 'progress') {
      this.#line.show(this.#progressText(event))
      return
    }
    const text = textOf(event)
    if (text !== undefined) this.#writeLine(text)
  }

  end(): void {
    this.#line.end()
  }

  #progressText(event: Extract<BackupEvent, { type: 'progress' }>): string {
    const { records, documentBytes, seqnosLeft, seqnosTotal } = event
    const seconds = Math.max(0.001, (performance.now() - this.#startedMs) / 1000)
    const done = seqnosTotal === 0 ? 1 : 1 - seqnosLeft / seqnosTotal
    const left = records === 0 ? '' : `, ${durationText(seqnosLeft / (records / seconds))} left`
    return (
      `${(done * 100).toFixed(1)} %: ${records} changes, ${sizeText(documentBytes)}, ` +
      `${sizeText(documentBytes / seconds)}/s${left}`
    )
  }

  #writeLine(text: string): void {
    this.end()
    this.#world.stderr.write(`holdfast: ${text}\n`)
  }
}

function textOf(event: BackupEvent): string | undefined {
  if (event.type === 'backup') return `${event.kind} backup ${event.id}`
  if (event.type === 'note') return event.message
  if (event.type === 'vbucket') return `vbucket ${event.vbid}: ${event.action}: ${event.reason}`
  if (event.type === 'step' && event.state === 'skipped') return `step ${event.step}: done before`
  return undefined
}
