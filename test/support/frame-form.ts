import type { FrameForm } from '../../src/storage/record-frame.ts'

/** All that a record has, as it is stored. */
export const wholeForm: FrameForm = {
  opaque: 0,
  noValue: false,
  includeXattrs: true,
  deletedUserXattrs: true,
  keepSnappy: true,
  forceSnappy: false,
  deleteTimes: true,
  expiryOpcode: true,
  collections: true,
  filter: undefined,
  streamId: 0,
}
