import { isStatus, Status, statusName } from './status.ts'
import type { StatusName } from './status.ts'

/**
 * What a client can do about a status: give up or change the request (`never`), send it again at
 * once (`now`), after fetching a newer vbucket map (`after-map`), or after a pause (`later`).
 */
export type Retry = 'never' | 'now' | 'after-map' | 'later'

export interface StatusRow {
  readonly code: Status
  readonly name: StatusName
  readonly retry: Retry
  readonly meaning: string
}

const rows: Readonly<Record<StatusName, readonly [Retry, string]>> = {
  success: ['never', 'The request was carried out.'],
  keyNotFound: ['never', 'There is no such key.'],
  keyExists: ['never', 'The key exists already, or with another CAS than the one given.'],
  tooLarge: ['never', 'The document or the request is beyond the size limit.'],
  invalidArguments: ['never', 'The request is malformed or its fields contradict each other.'],
  notStored: ['never', 'The document was not stored: the key it needs is not there.'],
  badDelta: ['never', 'The value to increment or decrement is not a number.'],
  notMyVbucket: ['after-map', 'This node does not serve the vbucket; the body may hold a map.'],
  noBucket: ['never', 'The connection has no bucket selected.'],
  locked: ['later', 'The document is locked by another client.'],
  streamNotFound: ['never', 'There is no such DCP stream on this connection.'],
  opaqueNoMatch: ['never', 'The opaque is not the one of that DCP stream.'],
  wouldThrottle: ['later', 'The request would have been throttled.'],
  configOnly: ['after-map', 'The bucket here holds configuration only.'],
  notLocked: ['never', 'The document is not locked.'],
  casInvalid: ['never', 'The CAS cannot be used for this request.'],
  authStale: ['never', 'The user has changed since: authenticate again.'],
  authError: ['never', 'Wrong user or password, or no such mechanism.'],
  authContinue: ['now', 'Authentication goes on with another step.'],
  outOfRange: ['never', 'A value lies outside of its range.'],
  rollback: ['now', 'Histories differ: go back to the seqno in the body and ask again.'],
  accessDenied: ['never', 'The user may not do this.'],
  notInitialized: ['later', 'The node is not ready for users yet.'],
  encryptionKeyNotAvailable: ['later', 'A key needed to decrypt data is missing.'],
  checksumMismatch: ['never', 'The data does not have the checksum given.'],
  expiryOverflow: ['never', 'The expiry does not fit into 32 bits.'],
  lockExpiryOverflow: ['never', 'The lock time does not fit into 32 bits.'],
  rateLimitedNetworkIngress: ['later', 'The tenant sends more bytes than it may.'],
  rateLimitedNetworkEgress: ['later', 'The tenant receives more bytes than it may.'],
  rateLimitedMaxConnections: ['later', 'The tenant has as many connections as it may.'],
  rateLimitedMaxCommands: ['later', 'The tenant sends more requests than it may.'],
  bucketSizeLimitExceeded: ['never', 'The bucket holds as much as it may.'],
  bucketResidentRatioTooLow: ['later', 'Too little of the bucket fits into memory for writes.'],
  bucketDataSizeTooBig: ['never', 'The bucket holds too much for further writes.'],
  bucketDiskSpaceTooLow: ['later', 'Too little disk space is left for writes.'],
  bucketPaused: ['later', 'The bucket is paused.'],
  cancelled: ['now', 'The request was cancelled and had no effect.'],
  unknownFrameInfo: ['never', 'A framing extra has an id unknown here.'],
  unknownCommand: ['never', 'The opcode is unknown here.'],
  outOfMemory: ['later', 'There is not enough memory for it.'],
  notSupported: ['never', 'The server does not do this.'],
  internalError: ['never', 'The server failed; its log has the details.'],
  busy: ['later', 'The server is too busy.'],
  temporaryFailure: ['later', 'It cannot be done just now.'],
  xattrInvalid: ['never', 'The extended attributes are malformed.'],
  unknownCollection: ['after-map', 'There is no such collection.'],
  cannotApplyCollectionsManifest: ['never', 'The collections manifest could not be applied.'],
  unknownScope: ['after-map', 'There is no such scope.'],
  streamIdInvalid: ['never', 'The DCP stream id is missing, taken or not allowed.'],
  durabilityInvalidLevel: ['never', 'There is no such durability level.'],
  durabilityImpossible: ['later', 'Too few nodes are there for this durability level.'],
  syncWriteInProgress: ['later', 'Another durable write of this key is not finished.'],
  syncWriteAmbiguous: ['never', 'The durable write timed out; it may still come into effect.'],
  syncWriteRecommitInProgress: ['later', 'A durable write of this key is being committed again.'],
  rangeScanCancelled: ['never', 'The range scan was cancelled.'],
  rangeScanMore: ['now', 'The range scan has more to send.'],
  rangeScanComplete: ['never', 'The range scan has sent everything.'],
  vbuuidNotEqual: ['never', 'The vbucket has another uuid than the one given.'],
  subdocPathNotFound: ['never', 'The path is not in the document.'],
  subdocPathMismatch: ['never', 'The path does not fit the structure of the document.'],
  subdocPathInvalid: ['never', 'The path is malformed.'],
  subdocPathTooBig: ['never', 'The path is too long or has too many components.'],
  subdocDocumentTooDeep: ['never', 'The document is nested too deeply.'],
  subdocValueCannotInsert: ['never', 'The value would make the document invalid JSON.'],
  subdocDocumentNotJson: ['never', 'The document is not JSON.'],
  subdocNumberOutOfRange: ['never', 'The number in the document does not fit into 64 bits.'],
  subdocDeltaInvalid: ['never', 'The delta is zero, no integer, or beyond 64 bits.'],
  subdocPathExists: ['never', 'The path exists already.'],
  subdocValueTooDeep: ['never', 'The value would nest the document too deeply.'],
  subdocInvalidCombination: ['never', 'These operations cannot be combined.'],
  subdocMultiPathFailure: ['never', 'At least one operation failed; the body tells which.'],
  subdocSuccessDeleted: ['never', 'Done, on a tombstone.'],
  subdocXattrInvalidFlagCombination: ['never', 'These attribute flags cannot be combined.'],
  subdocXattrInvalidKeyCombination: ['never', 'Only one attribute may be touched at a time.'],
  subdocXattrUnknownMacro: ['never', 'There is no such macro.'],
  subdocXattrUnknownVirtualAttribute: ['never', 'There is no such virtual attribute.'],
  subdocXattrCannotModifyVirtualAttribute: ['never', 'Virtual attributes cannot be changed.'],
  subdocMultiPathFailureDeleted: ['never', 'At least one operation failed, on a tombstone.'],
  subdocInvalidXattrOrder: ['never', 'Operations on attributes must come first.'],
  subdocXattrUnknownVirtualMacro: ['never', 'There is no such virtual macro.'],
  subdocCanOnlyReviveDeletedDocuments: ['never', 'Only a tombstone can be revived.'],
  subdocDeletedDocumentCannotHaveValue: ['never', 'A tombstone cannot have a body.'],
  subdocFieldNotBinaryValue: ['never', 'The field does not hold a binary value.'],
}

/** Every status with its meaning and the client's next step, ordered by code. */
export const statusTable: readonly StatusRow[] = (Object.keys(rows) as StatusName[])
  .map(name => ({ code: Status[name], name, retry: rows[name][0], meaning: rows[name][1] }))
  .sort((a, b) => a.code - b.code)

/** The text bodies memcached sends with its errors; its clients and test suites look for them. */
const classicTexts: Partial<Record<StatusName, string>> = {
  keyNotFound: 'Not found',
  keyExists: 'Data exists for key.',
  tooLarge: 'Too large.',
  invalidArguments: 'Invalid arguments',
  notStored: 'Not stored.',
  badDelta: 'Non-numeric server-side value for incr or decr',
  notMyVbucket: "I'm not responsible for this vbucket",
  authError: 'Auth failure.',
  authContinue: 'Continue',
  unknownCommand: 'Unknown command',
  outOfMemory: 'Out of memory',
  notSupported: 'Not supported',
  internalError: 'Internal error',
  busy: 'Too busy',
  temporaryFailure: 'Temporary failure',
}

/** The client's next step; a status nobody knows is not worth another try. */
export function statusRetry(code: number): Retry {
  return isStatus(code) ? rows[statusName(code) as StatusName][0] : 'never'
}

/** The text for the body of an error: memcached's where it has one, else the meaning. */
export function statusText(code: number): string {
  if (!isStatus(code)) return statusName(code)
  const name = statusName(code) as StatusName
  return classicTexts[name] ?? rows[name][1]
}
