/**
 * Stream requests wait here to be decided, one in a turn of the event loop: opening a stream takes
 * time, and a client asks for a thousand at once. Between two of them others have their turn.
 *
 * Answers leave together, when so many are ready or nobody waits any more: a write for each of
 * them would cost more than the stream it is about.
 */

/** Answers that wait for each other. */
const answersMax = 16

export interface Opening {
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
  #ready = 0
  #isScheduled = false

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
    setImmediate(this.#turn)
  }

  readonly #turn = (): void => {
    this.#isScheduled = false
    for (const opening of this.#waiting) {
      this.#waiting.delete(opening)
      this.#schedule()
      opening.decide()
      break
    }
    if (this.#waiting.size === 0) this.#sendAnswers()
  }

  #sendAnswers(): void {
    this.#ready = 0
    for (const connection of this.#answering) connection.sendAnswers()
    this.#answering.clear()
  }
}
