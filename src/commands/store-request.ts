import type { Frame } from '../../protocol/frame.ts'
import { StoreRequest } from '../vbucket/store-request.ts'
import type { Session } from './session.ts'

/** The one request that all mutations are described in: they run one after the other. */
const request = new StoreRequest()

/** Names the document and CAS of `frame`; all else is as a command finds it without extras. */
export function requestOf(session: Session, frame: Frame): StoreRequest {
  request.key = frame.bytes
  request.keyStart = frame.keyStart
  request.keyLength = frame.keyLength
  request.value = frame.bytes
  request.valueStart = frame.valueStart
  request.valueLength = frame.valueLength
  request.flags = 0
  request.expiry = 0
  request.datatype = frame.datatype & session.features.datatypes
  request.casHigh = frame.casHigh
  request.casLow = frame.casLow
  request.mode = 'set'
  request.preserveExpiry = session.requirements.preserveExpiry
  return request
}
