/**
 * Runs one request: look up, check its shape, authorise, find its vbucket, run, answer. Each step
 * that fails is one status. The only place that catches what a command throws.
 */
import { Datatype, datatypeName } from '../../protocol/datatype.ts'
import {
  decodeRequestFraming,
  type FramingError,
  type RequestFraming,
} from '../../protocol/framing.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import { pending, type Command, type Outcome } from '../commands/command.ts'
import { replyNotMyVbucket } from '../commands/cluster-config.ts'
import { enterCollection } from '../commands/document-key.ts'
import { shownStatus } from '../commands/error-body.ts'
import { replyError } from '../commands/reply.ts'
import type { CommandSettings } from '../commands/node.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import type { Connection } from './connection.ts'
import { failureOf } from './failure.ts'
import type { OperationCounters } from './operation-counters.ts'
import { withPlainValue } from './plain-request.ts'

/**
 * Every so many requests one is timed, and counts for all of them: reading the clock costs as much
 * as a small GET.
 */
const timedEvery = 32

/**
 * Bits of a datatype that only clients may set that have negotiated them. Those that set the bit
 * for JSON without are many, and it does no harm: it is not believed.
 */
const negotiatedDatatypes = Datatype.snappy

const framingStatus = {
  malformed: Status.invalidArguments,
  'durability-level': Status.durabilityInvalidLevel,
  'unknown-id': Status.unknownFrameInfo,
} as const

export class Dispatcher {
  readonly #settings: CommandSettings
  readonly #counters: OperationCounters
  #sequence = 0

  constructor(settings: CommandSettings, counters: OperationCounters) {
    this.#settings = settings
    this.#counters = counters
  }

  /** Leaves in the session what the framing extras ask for, which is nothing for most frames. */
  readFraming(connection: Connection, frame: Frame): FramingError | undefined {
    if (frame.framingLength > 0) {
      connection.hasRequirements = true
      return decodeRequestFraming(frame, connection.requirements)
    }
    if (connection.hasRequirements) {
      connection.hasRequirements = false
      connection.requirements.reset()
    }
    return undefined
  }

  run(
    connection: Connection,
    frame: Frame,
    command: Command | undefined,
    framingError: FramingError | undefined,
  ): void {
    const timed = ++this.#sequence % timedEvery === 0
    const startedMs = timed ? connection.clock.monotonicMs() : 0
    let outcome: Outcome
    try {
      outcome = this.#execute(connection, frame, command, framingError)
    } catch (error) {
      const fields = { connection: connection.id, opcode: frame.opcode }
      const failure = failureOf(error, connection.log, fields)
      connection.errorContext = failure.context
      outcome = failure.status
    }
    if (outcome !== Status.success && outcome < 0x1_0000) {
      this.#answerError(connection, frame, command, outcome)
    }
    if (outcome & pending) return
    this.#counters.count(frame.opcode, outcome & 0xffff)
    if (timed) {
      this.#counters.time(frame.opcode, connection.clock.monotonicMs() - startedMs, timedEvery)
    }
  }

  #answerError(
    connection: Connection,
    frame: Frame,
    command: Command | undefined,
    status: number,
  ): void {
    const isMiss = status === Status.keyNotFound
    if (!isMiss || command === undefined) {
      replyError(connection, frame, shownStatus(connection, status), false)
    } else if (!command.quietMiss) replyError(connection, frame, status, command.echoesKey)
    connection.errorContext = ''
  }

  #execute(
    connection: Connection,
    frame: Frame,
    command: Command | undefined,
    framingError: FramingError | undefined,
  ): Outcome {
    if (command === undefined || frame.malformed || frame.oversized) {
      return this.#refuse(connection, frame, command)
    }
    if (framingError !== undefined) {
      connection.errorContext = `framing extra ${framingError.id}: ${framingError.kind}`
      return framingStatus[framingError.kind]
    }
    if (connection.hasRequirements && impersonates(connection.requirements)) {
      connection.errorContext = 'nobody may act as another user'
      return Status.accessDenied
    }
    if (connection.hasRequirements && connection.requirements.preserveExpiry) {
      if (!command.preservesExpiry) {
        connection.errorContext = `${command.name} cannot keep an expiry`
        return Status.notSupported
      }
    }
    if ((frame.datatype & ~command.datatypes & Datatype.snappy) !== 0) {
      if (connection.features.snappyEverywhere) {
        const plain = withPlainValue(frame, this.#settings.valueBytesMax)
        return this.#execute(connection, plain, command, framingError)
      }
    }
    const refusal = this.#checkShape(connection, frame, command)
    if (refusal !== Status.success) return refusal
    if ((command.privilege & ~connection.privileges) !== 0) return connection.deny(command)
    if (command.target === 'node') return start(connection, frame, noVbucket, command)
    const { bucket } = connection
    if (bucket === undefined) return Status.noBucket
    if (command.target === 'bucket') return start(connection, frame, noVbucket, command)
    const vbucket = bucket.vbucket(frame.vbid)
    if (vbucket === undefined || !servesAs(vbucket, command)) {
      return replyNotMyVbucket(connection, frame)
    }
    if (command.hasDocumentKey) {
      const entered = enterCollection(connection, frame, bucket)
      if (entered !== Status.success) return entered
    }
    return start(connection, frame, vbucket, command)
  }

  #refuse(connection: Connection, frame: Frame, command: Command | undefined): Outcome {
    this.#counters.framesRefused++
    if (command === undefined) return Status.unknownCommand
    if (frame.oversized) {
      connection.errorContext = `a request of ${frame.bodyLength} bytes is over the limit`
      return Status.tooLarge
    }
    connection.errorContext = 'the lengths in the header contradict each other'
    return Status.invalidArguments
  }

  /** Lengths, CAS, datatype and framing against the command's row. */
  #checkShape(connection: Connection, frame: Frame, command: Command): Status {
    const { extrasLength, keyLength, valueLength, datatype } = frame
    let fault = ''
    if (extrasLength !== command.extrasUsual && !command.extras.includes(extrasLength)) {
      fault = `${command.name} takes ${command.extras.join(' or ')} bytes of extras`
    } else if (keyLength < command.keyMin || (keyLength > 0 && !command.takesKey)) {
      fault = `${command.name} ${command.takesKey ? 'needs a' : 'takes no'} key`
    } else if (valueLength < command.valueMin || (valueLength > 0 && !command.takesValue)) {
      fault = `${command.name} ${command.takesValue ? 'needs a' : 'takes no'} value`
    } else if (!command.takesCas && (frame.casHigh | frame.casLow) !== 0) {
      fault = `${command.name} takes no cas`
    } else if ((datatype & ~command.datatypes) !== 0) {
      fault = `${command.name} takes no ${datatypeName(datatype & ~command.datatypes)} value`
    } else if ((datatype & ~connection.features.datatypes & negotiatedDatatypes) !== 0) {
      fault = `${datatypeName(datatype)} values have to be negotiated`
    } else if (connection.hasRequirements && !command.writes) {
      if (connection.requirements.durabilityLevel) fault = `${command.name} cannot be durable`
    }
    if (fault !== '') {
      connection.errorContext = fault
      return Status.invalidArguments
    }
    const { keyBytesMax, valueBytesMax } = this.#settings
    // Keys with the id of a collection are looked at where that is read.
    const isTooLong = keyLength > keyBytesMax && !connection.features.collections
    if (command.isDocument && (isTooLong || valueLength > valueBytesMax)) {
      connection.errorContext = `at most ${keyBytesMax} bytes of key, ${valueBytesMax} of value`
      return Status.tooLarge
    }
    return Status.success
  }
}

function impersonates(framing: RequestFraming): boolean {
  return (
    framing.impersonate !== undefined ||
    framing.impersonateTokenAuthId > 0 ||
    framing.impersonateExtraPrivileges.length > 0
  )
}

/** What commands that are not about a vbucket are given; they do not look. */
const noVbucket = undefined as unknown as Vbucket

function servesAs(vbucket: Vbucket, command: Command): boolean {
  if (command.target === 'active') return vbucket.state === VbucketState.active
  return command.target === 'vbucket' || vbucket.state === VbucketState.replica
}

function start(connection: Connection, frame: Frame, vbucket: Vbucket, command: Command): Outcome {
  if (command.run !== undefined) return command.run(connection, frame, vbucket, command)
  const promise = command.runLater!(connection, frame.copy(), vbucket)
  const answer = connection.openPending(frame, command)
  promise.then(
    parts => answer.reply(parts),
    (error: unknown) => answer.fail(error),
  )
  return pending
}
