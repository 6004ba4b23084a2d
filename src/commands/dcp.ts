/** Change streams: the commands of a DCP connection, handed to its producer. */
import {
  decodeBufferAcknowledgement,
  decodeDcpControl,
  decodeDcpOpen,
  decodeStreamRequest,
  encodeFailoverLog,
} from '../../protocol/dcp/index.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import type { Frame } from '../../protocol/frame.ts'
import type { Producer } from '../dcp/producer.ts'
import type { Vbucket } from '../vbucket/vbucket.ts'
import { answered, pending, Privilege } from './command.ts'
import type { Command, CommandRow, Outcome, Run } from './command.ts'
import { reply } from './reply.ts'
import type { Session } from './session.ts'

type RunStream = (producer: Producer, session: Session, frame: Frame, command: Command) => Outcome

/** Runs only on a connection that DCP_OPEN has made one for streams. */
function onProducer(run: RunStream): Run {
  return (session, frame, _, command) => {
    const { producer } = session
    if (producer !== undefined) return run(producer, session, frame, command)
    session.errorContext = `${command.name} is for connections opened with DCP_OPEN`
    return Status.invalidArguments
  }
}

function open(session: Session, frame: Frame): Outcome {
  const request = decodeDcpOpen(frame)
  if (request === undefined || session.producer !== undefined) {
    session.errorContext = 'DCP_OPEN takes a name, and works once on a connection'
    return Status.invalidArguments
  }
  if (session.features.unordered) {
    session.errorContext = 'streams and unordered execution exclude each other'
    return Status.notSupported
  }
  const { name, flags, value } = request
  session.producer = session.node.dcp.open({
    name,
    flags,
    value,
    user: session.user,
    snappy: session.features.snappy,
    bucket: session.bucket!,
    isAware: session.features.collections,
    output: session.dcpOutput,
    connectionId: session.id,
  })
  return reply(session, frame)
}

const control = onProducer((producer, session, frame) => {
  const request = decodeDcpControl(frame)
  if (request === undefined) return Status.invalidArguments
  const status = producer.control(request.key, request.value)
  if (status === Status.success) return reply(session, frame)
  session.errorContext = `${request.key} = ${request.value} is not accepted`
  return status
})

/** The answer comes before the first frame of the stream: both take the same way out. */
const streamRequest = onProducer((producer, session, frame, command) => {
  const request = decodeStreamRequest(frame)
  if (request === undefined) return Status.invalidArguments
  producer.streamRequest(request, session.openPending(frame, command))
  return pending
})

const closeStream = onProducer((producer, session, frame) => {
  const status = producer.closeStream(frame.vbid, session.requirements.streamId)
  return status === Status.success ? reply(session, frame) : status
})

/** Never answered: clients that match answers to requests in order would lose count. */
const bufferAcknowledgement = onProducer((producer, _session, frame) => {
  producer.bufferAcknowledge(decodeBufferAcknowledgement(frame)!.bytes)
  return answered
})

function noop(session: Session, frame: Frame): Outcome {
  return reply(session, frame)
}

/** Also on connections without streams: it is how clients learn where to start. */
function getFailoverLog(session: Session, frame: Frame, vbucket: Vbucket): Outcome {
  const value =
    session.producer?.failoverLog(frame.vbid).value ??
    encodeFailoverLog(vbucket.failoverLog.entries)
  return reply(session, frame, { value })
}

const row = {
  extras: [0],
  key: 'none',
  value: 'none',
  target: 'node',
  privilege: Privilege.dcp,
} as const

export const dcpRows: readonly CommandRow[] = [
  {
    ...row,
    opcode: Opcode.dcpOpen,
    extras: [8],
    key: 'required',
    value: 'optional',
    target: 'bucket',
    run: open,
  },
  { ...row, opcode: Opcode.dcpControl, key: 'required', value: 'required', run: control },
  {
    ...row,
    opcode: Opcode.dcpStreamRequest,
    slow: true,
    extras: [48],
    value: 'optional',
    run: streamRequest,
  },
  { ...row, opcode: Opcode.dcpCloseStream, run: closeStream },
  { ...row, opcode: Opcode.dcpBufferAcknowledgement, extras: [4], run: bufferAcknowledgement },
  { ...row, opcode: Opcode.dcpNoop, run: noop },
  { ...row, opcode: Opcode.dcpGetFailoverLog, target: 'vbucket', run: getFailoverLog },
]
