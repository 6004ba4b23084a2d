/**
 * Stream requests wait here to be decided, a few in a turn of the event loop: opening a stream takes
 * time, and a client asks for a thousand at once. Between two turns others have theirs. While
 * documents are being served it is one in a turn, and they keep to a part of the time: a thousand
 * openings in a row, with what they send, would fill every turn of a twentieth of a second.
 *
 * Answers leave together, when so many are ready or nobody waits any more: a write for each of
 * them would cost more than the stream it is about.
 */

import type { Clock, Timer } from '../clock.ts'

/** Answers that wait for each other. */
const answersMax = 16
/** A turn of them ends after so many, or when so much time has passed. */
const openingsPerTurnMax = 16
const turnMs = 0.25
/** While others are being served: so many are decided, and then none for so long. */
const openingsBetweenRests = 4
const restMs = 1

export interface Opening {
  /** Whether documents of its bucket are being served meanwhile. */
  readonly areOthersServed: boolean
  /** It is its turn, which may come again. */
  decide(): void
}

/** A connection that has answers ready. */
export interface Answering {
  sendAnswers(): void
}

export class OpeningTurns {
  readonly #waiting = new Set<Opening>()
  readonly #waitingFor = new Map<Promise<void>, Opening[]>()
  readonly #answering = new Set<Answering>()
  readonly #clock: Clock
  #ready = 0
  #isScheduled = false
  #rest: Timer | undefined
  #sinceRest = 0
  #isClosed = false

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Who still waits is decided without a rest. */
  close(): void {
    this.#isClosed = true
    if (this.#rest === undefined) return
    this.#rest.cancel()
    this.#turn()
  }

  wait(opening: Opening): void {
    this.#waiting.add(opening)
    this.#schedule()
  }

  /** Its turn comes when something has happened that others may wait for, too. */
  waitFor(event: Promise<void>, opening: Opening): void {
    const others = this.#waitingFor.get(event)
    if (others !== undefined) {
      others.push(opening)
      return
    }
    const openings = [opening]
    this.#waitingFor.set(event, openings)
    void event.then(() => {
      this.#waitingFor.delete(event)
      for (const each of openings) this.wait(each)
    })
  }

  /** An answer is ready; its connection is told when to send it. */
  answered(connection: Answering): void {
    this.#answering.add(connection)
    this.#ready++
    if (this.#ready >= answersMax || this.#waiting.size === 0) this.#sendAnswers()
  }

  #schedule(): void {
    if (this.#isScheduled || this.#waiting.size === 0) return
    this.#isScheduled = true
    if (this.#sinceRest < openingsBetweenRests || this.#isClosed) {
      setImmediate(this.#turn)
      return
    }
    this.#sinceRest = 0
    this.#sendAnswers()
    this.#rest = this.#clock.after(restMs, this.#turn)
  }

  readonly #turn = (): void => {
    this.#isScheduled = false
    this.#rest = undefined
    const endMs = this.#clock.monotonicMs() + turnMs
    let decided = 0
    for (const opening of this.#waiting) {
      this.#waiting.delete(opening)
      const { areOthersServed } = opening
      opening.decide()
      decided++
      this.#sinceRest = areOthersServed ? this.#sinceRest + 1 : 0
      if (areOthersServed || decided === openingsPerTurnMax) break
      if (this.#clock.monotonicMs() >= endMs) break
    }
    this.#schedule()
    if (this.#waiting.size === 0) this.#sendAnswers()
  }

  #sendAnswers(): void {
    this.#ready = 0
    for (const connection of this.#answering) connection.sendAnswers()
    this.#answering.clear()
  }
}
