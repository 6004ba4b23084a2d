import { dcpNameLengthMax } from '../../protocol/dcp/open.ts'
import * as is from './kinds.ts'
import { GiB, KiB, MiB, TiB } from './kinds.ts'
import type { Option } from './option.ts'

const minute = 60
const hour = 60 * minute
const day = 24 * hour

/** Backfills, parked snapshots and what streams may take. */
export const streams = {
  backfillGraceSeconds: {
    flag: 'backfill-grace',
    kind: is.duration({ max: 30 * day }),
    default: minute,
    meaning:
      'How long the snapshot of a resumable backfill is kept for a client that went away; 0 keeps none',
  },
  backfillGraceMaxSeconds: {
    flag: 'backfill-grace-max',
    kind: is.duration({ max: 30 * day }),
    default: hour,
    meaning: 'Longest grace a client may ask for',
  },
  backfillResumeDefault: {
    flag: 'backfill-resume-default',
    kind: is.boolean(),
    default: false,
    meaning: 'Whether clients that do not negotiate backfill_resume get it too',
  },
  backfillReceivedGraceSeconds: {
    flag: 'backfill-received-grace',
    kind: is.duration({ max: hour }),
    default: 10,
    meaning:
      'For how long clients that do not negotiate backfill_resume may ask again from before what they have acknowledged; 0: not at all',
  },
  parkedMax: {
    flag: 'parked-max',
    kind: is.count({ max: 1_000_000 }),
    default: 4_096,
    meaning: 'Vbuckets with a parked snapshot in all; past it the oldest deadline expires early',
  },
  parkedPerClientMax: {
    flag: 'parked-per-client-max',
    kind: is.count({ max: 1_000_000 }),
    default: 1_024,
    meaning: 'Vbuckets with a parked snapshot of one client',
  },
  pinnedBytesMax: {
    flag: 'pinned-bytes-max',
    kind: is.bytes({ max: 16 * TiB }),
    default: 4 * GiB,
    meaning: 'Disk that snapshots may keep from reuse; past it parked ones expire early',
  },
  readerSlotsMax: {
    flag: 'reader-slots-max',
    kind: is.count({ min: 1, max: 1_000 }),
    default: 120,
    meaning: 'LMDB read transactions that snapshots may hold in one environment',
  },
  backfillSlabBytes: {
    flag: 'backfill-slab',
    kind: is.bytes({ min: 4 * KiB, max: 64 * MiB }),
    default: 512 * KiB,
    meaning: 'What a backfill reads from disk and hands over at a time',
  },
  dcpBufferBytes: {
    flag: 'dcp-buffer',
    kind: is.bytes({ min: 64 * KiB, max: GiB }),
    default: MiB,
    meaning: 'Stream bytes that may wait in memory for the client of one connection',
  },
  connectionNameBytesMax: {
    flag: 'connection-name-max',
    kind: is.bytes({ min: 1, max: dcpNameLengthMax }),
    default: dcpNameLengthMax,
    meaning: 'Longest name of a DCP connection, up to the 200 bytes that the protocol allows',
  },
  noopIntervalSeconds: {
    flag: 'noop-interval',
    kind: is.duration({ min: 1, max: day }),
    default: 2 * minute,
    meaning: 'How often a quiet stream connection that asked for no-ops is probed',
  },
} satisfies Record<string, Option>

/** Tombstones and expiry. */
export const purging = {
  purgeAgeSeconds: {
    flag: 'purge-age',
    kind: is.duration({ max: 10_000 * day }),
    default: 3 * day,
    meaning: 'Age at which a tombstone is purged; clients away for longer may have to start over',
  },
  purgeIntervalSeconds: {
    flag: 'purge-interval',
    kind: is.duration({ min: 0.01, max: 30 * day }),
    default: minute,
    meaning: 'How often old tombstones are looked for',
  },
  purgeHoldMaxSeconds: {
    flag: 'purge-hold-max',
    kind: is.duration({ max: 365 * day }),
    default: day,
    meaning:
      'How long one resumable client may keep the purger behind what it has received; 0: only its snapshot protects it',
  },
  expiryPagerIntervalSeconds: {
    flag: 'expiry-pager-interval',
    kind: is.duration({ min: 0.01, max: 30 * day }),
    default: minute,
    meaning: 'How often expired documents that nobody read are looked for and deleted',
  },
} satisfies Record<string, Option>
