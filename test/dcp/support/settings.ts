import type { DcpSettings } from '../../../src/dcp/settings.ts'

export const testSettings: DcpSettings = {
  backfillGraceSeconds: 60,
  backfillGraceMaxSeconds: 3600,
  backfillReceivedGraceSeconds: 10,
  backfillResumeDefault: false,
  backfillSlabBytes: 16 * 1024,
  connectionNameBytesMax: 200,
  dcpBufferBytes: 32 * 1024,
  noopIntervalSeconds: 120,
  parkedMax: 4096,
  parkedPerClientMax: 1024,
  pinnedBytesMax: 2 ** 32,
  purgeHoldMaxSeconds: 86_400,
  readerSlotsMax: 120,
}
