/** Answers in the order of their requests, and frames of streams that wait for none beyond their own. */
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { ResponseQueue, type Slot } from '../../src/server/response-queue.ts'

const seed = Number(process.env['SEED'] ?? Math.floor(Math.random() * 2 ** 31))

/** `which` of the open slots to fill, and whether nothing is said of it. */
const anyStep = fc.record({
  kind: fc.constantFrom('open', 'fill', 'answer', 'frames', 'drain'),
  which: fc.nat(),
  isQuiet: fc.boolean(),
})

interface Answer {
  text: string
  isGiven: boolean
}

/** Frames, and the last answer that had been given before them. */
interface Frames {
  text: string
  behind: number
}

/** Everything said to a queue; what may have left is found by looking at all of it. */
class Said {
  readonly answers: Answer[] = []
  readonly frames: Frames[] = []

  answer(text: string, isGiven: boolean): Answer {
    const answer = { text, isGiven }
    this.answers.push(answer)
    return answer
  }

  streamed(text: string): void {
    this.frames.push({ text, behind: this.answers.findLastIndex(({ isGiven }) => isGiven) })
  }

  /** Answers and frames that wait for nothing: of each kind the first ones. */
  mayLeave(): { answers: string[]; frames: Frames[] } {
    const missing = this.answers.findIndex(({ isGiven }) => !isGiven)
    const given = missing === -1 ? this.answers.length : missing
    return {
      answers: this.answers.slice(0, given).map(({ text }) => text),
      frames: this.frames.filter(({ behind }) => behind < given),
    }
  }
}

t.test('nothing passes what it has to be behind, and nothing waits for more', t => {
  t.comment(`SEED=${seed}`)
  const property = fc.property(fc.array(anyStep, { maxLength: 40 }), steps => {
    const queue = new ResponseQueue()
    const said = new Said()
    const waiting: { slot: Slot; answer: Answer }[] = []
    const sent: string[] = []
    const send = (bytes: Buffer) => void sent.push(bytes.toString())
    for (const [index, step] of steps.entries()) {
      const text = `${step.kind} ${index}`
      if (step.kind === 'open') {
        waiting.push({ slot: queue.open(), answer: said.answer('', false) })
      } else if (step.kind === 'answer') {
        said.answer(text, true)
        if (queue.isEmpty) sent.push(text)
        else queue.append(Buffer.from(text))
      } else if (step.kind === 'frames') {
        said.streamed(text)
        if (!queue.appendFrames(Buffer.from(text))) sent.push(text)
      } else if (step.kind === 'drain') {
        queue.drain(send)
      } else if (waiting.length > 0) {
        const [filled] = waiting.splice(step.which % waiting.length, 1)
        const { slot, answer } = filled!
        answer.isGiven = true
        answer.text = step.isQuiet ? '' : text
        queue.fill(slot, step.isQuiet ? undefined : Buffer.from(text))
      }
    }
    queue.drain(send)
    const { answers, frames } = said.mayLeave()
    const isFrames = (text: string) => text.startsWith('frames')
    assert.deepEqual(
      sent.filter(text => !isFrames(text)),
      answers.filter(text => text !== ''),
    )
    assert.deepEqual(
      sent.filter(isFrames),
      frames.map(({ text }) => text),
    )
    for (const { text, behind } of frames) {
      const place = sent.indexOf(text)
      for (const answer of answers.slice(0, behind + 1)) {
        assert(sent.indexOf(answer) < place, `${text} has to be behind ${answer}`)
      }
    }
    assert.equal(queue.isEmpty, waiting.length === 0 || answers.length === said.answers.length)
    if (queue.isEmpty) assert.equal(queue.bytes, 0)
  })
  fc.assert(property, { seed, numRuns: 3000 })
  t.end()
})
