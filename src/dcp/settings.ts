import type { Settings } from '../config/settings.ts'

/** The settings that streams and parked snapshots depend on. */
export type DcpSettings = Pick<
  Settings,
  | 'backfillGraceSeconds'
  | 'backfillGraceMaxSeconds'
  | 'backfillReceivedGraceSeconds'
  | 'backfillResumeDefault'
  | 'backfillSlabBytes'
  | 'connectionNameBytesMax'
  | 'dcpBufferBytes'
  | 'noopIntervalSeconds'
  | 'parkedMax'
  | 'parkedPerClientMax'
  | 'pinnedBytesMax'
  | 'purgeHoldMaxSeconds'
  | 'readerSlotsMax'
>
