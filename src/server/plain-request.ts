/**
 * Requests whose values came compressed although their command does not take that: a client that has
 * negotiated Snappy for everything may compress whatever it likes, also a list of paths or a
 * manifest. The command is shown the value as it is.
 */
import { writeUint32 } from '../../protocol/bytes.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { Frame } from '../../protocol/frame.ts'
import { HeaderOffset } from '../../protocol/header.ts'
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../errors.ts'
import { expand, expandedLength } from '../storage/snappy.ts'

/**
 * The same request in memory of its own, with its value expanded. Fails with a StatusError:
 * invalidArguments for what is no Snappy block, tooLarge for more than `bytesMax`.
 */
export function withPlainValue(frame: Frame, bytesMax: number): Frame {
  const { bytes, start, valueStart, valueLength } = frame
  const length = expandedLength(bytes, valueStart, valueLength)
  if (length > bytesMax) throw new StatusError(Status.tooLarge, `the value has ${length} bytes`)
  const value = expand(bytes, valueStart, valueLength)
  if (value === undefined) {
    throw new StatusError(Status.invalidArguments, 'the value is no block of Snappy')
  }
  const plain = new Frame()
  plain.bytes = Buffer.concat([bytes.subarray(start, valueStart), value])
  plain.bytes[HeaderOffset.datatype]! &= ~Datatype.snappy
  writeUint32(plain.bytes, HeaderOffset.bodyLength, frame.bodyLength - valueLength + value.length)
  plain.readHeader(0)
  return plain
}
