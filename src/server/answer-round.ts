/**
 * Lets answers that became ready together leave together. First all of them are gathered, then all
 * are written, with nothing in between: a client that is woken by the first write finds the next
 * ones coming, instead of falling asleep before each. With one commit for many connections that
 * is most of what an answer costs.
 */
import { soonInTurn } from '../turn-end.ts'

export interface Answering {
  /** Takes out of the queue what waits for nothing any more. */
  gather(): void
  /** Gives it to the socket. */
  write(): void
  /** Goes on with what had to wait for the answers: this may run requests. */
  progress(): void
}

export class AnswerRound {
  #answering: Answering[] = []

  /** Each once before its turn comes. */
  add(one: Answering): void {
    // After all promises that settle with this one, so that their answers leave together.
    if (this.#answering.push(one) === 1) soonInTurn(this.#run)
  }

  readonly #run = (): void => {
    const answering = this.#answering
    this.#answering = []
    for (const one of answering) one.gather()
    for (const one of answering) one.write()
    for (const one of answering) one.progress()
  }
}
