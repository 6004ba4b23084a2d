/**
 * The status of a response, by number. Meanings, and what a client should do next, are in
 * `status-table.ts`.
 */
export const Status = {
  success: 0x00,
  keyNotFound: 0x01,
  keyExists: 0x02,
  tooLarge: 0x03,
  invalidArguments: 0x04,
  notStored: 0x05,
  badDelta: 0x06,
  notMyVbucket: 0x07,
  noBucket: 0x08,
  locked: 0x09,
  streamNotFound: 0x0a,
  opaqueNoMatch: 0x0b,
  wouldThrottle: 0x0c,
  configOnly: 0x0d,
  notLocked: 0x0e,
  casInvalid: 0x0f,
  authStale: 0x1f,
  authError: 0x20,
  authContinue: 0x21,
  outOfRange: 0x22,
  rollback: 0x23,
  accessDenied: 0x24,
  notInitialized: 0x25,
  encryptionKeyNotAvailable: 0x26,
  checksumMismatch: 0x27,
  expiryOverflow: 0x28,
  lockExpiryOverflow: 0x29,
  rateLimitedNetworkIngress: 0x30,
  rateLimitedNetworkEgress: 0x31,
  rateLimitedMaxConnections: 0x32,
  rateLimitedMaxCommands: 0x33,
  bucketSizeLimitExceeded: 0x35,
  bucketResidentRatioTooLow: 0x36,
  bucketDataSizeTooBig: 0x37,
  bucketDiskSpaceTooLow: 0x38,
  bucketPaused: 0x50,
  cancelled: 0x51,
  unknownFrameInfo: 0x80,
  unknownCommand: 0x81,
  outOfMemory: 0x82,
  notSupported: 0x83,
  internalError: 0x84,
  busy: 0x85,
  temporaryFailure: 0x86,
  xattrInvalid: 0x87,
  unknownCollection: 0x88,
  cannotApplyCollectionsManifest: 0x8a,
  unknownScope: 0x8c,
  streamIdInvalid: 0x8d,
  durabilityInvalidLevel: 0xa0,
  durabilityImpossible: 0xa1,
  syncWriteInProgress: 0xa2,
  syncWriteAmbiguous: 0xa3,
  syncWriteRecommitInProgress: 0xa4,
  rangeScanCancelled: 0xa5,
  rangeScanMore: 0xa6,
  rangeScanComplete: 0xa7,
  vbuuidNotEqual: 0xa8,
  subdocPathNotFound: 0xc0,
  subdocPathMismatch: 0xc1,
  subdocPathInvalid: 0xc2,
  subdocPathTooBig: 0xc3,
  subdocDocumentTooDeep: 0xc4,
  subdocValueCannotInsert: 0xc5,
  subdocDocumentNotJson: 0xc6,
  subdocNumberOutOfRange: 0xc7,
  subdocDeltaInvalid: 0xc8,
  subdocPathExists: 0xc9,
  subdocValueTooDeep: 0xca,
  subdocInvalidCombination: 0xcb,
  subdocMultiPathFailure: 0xcc,
  subdocSuccessDeleted: 0xcd,
  subdocXattrInvalidFlagCombination: 0xce,
  subdocXattrInvalidKeyCombination: 0xcf,
  subdocXattrUnknownMacro: 0xd0,
  subdocXattrUnknownVirtualAttribute: 0xd1,
  subdocXattrCannotModifyVirtualAttribute: 0xd2,
  subdocMultiPathFailureDeleted: 0xd3,
  subdocInvalidXattrOrder: 0xd4,
  subdocXattrUnknownVirtualMacro: 0xd5,
  subdocCanOnlyReviveDeletedDocuments: 0xd6,
  subdocDeletedDocumentCannotHaveValue: 0xd7,
  subdocFieldNotBinaryValue: 0xd8,
} as const
export type StatusName = keyof typeof Status
export type Status = (typeof Status)[StatusName]

const names: (StatusName | undefined)[] = Array.from({ length: 256 })
for (const name of Object.keys(Status) as StatusName[]) names[Status[name]] = name

/** The name of a status, or `status 0x…` for a code without one. */
export function statusName(code: number): string {
  return names[code] ?? `status 0x${code.toString(16).padStart(2, '0')}`
}

export function isStatus(code: number): code is Status {
  return names[code] !== undefined
}
