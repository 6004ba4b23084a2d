/**
 * Every setting of the daemon, once: the command line, the environment, the file, the schema,
 * `--help` and the README's table all follow from this table. `flag` is the one name a person
 * sees: `--purge-age`, `HOLDFAST_PURGE_AGE`, and `purge-age:` in a file.
 */
import { callersEndpoint, noEndpoint } from './endpoint.ts'
import * as is from './kinds.ts'
import { GiB, KiB, MiB, TiB } from './kinds.ts'
import type { Option } from './option.ts'
import { security } from './security-options.ts'
import { purging, streams } from './stream-options.ts'

const minute = 60
const hour = 60 * minute
const day = 24 * hour

const serving = {
  data: {
    flag: 'data',
    kind: is.folder(),
    default: './data',
    meaning:
      'Folder that holds everything stored; created if missing, used by one daemon at a time',
  },
  host: {
    flag: 'host',
    kind: is.address(),
    default: '127.0.0.1',
    meaning:
      'Address to listen at; beyond loopback, users have to log in, and the first one is made at the first start',
  },
  port: {
    flag: 'port',
    kind: is.portOrOff(),
    default: 11_210,
    meaning:
      'Port for clients (memcached binary, Couchbase KV and DCP); 0 picks a free one, off leaves TLS only',
  },
  httpPort: {
    flag: 'http-port',
    kind: is.portOrOff(),
    default: 8_091,
    meaning:
      'Port for /metrics, /healthz and /readyz, and for cluster maps and the management of buckets; 0 picks a free one, off leaves HTTPS only',
  },
  advertise: {
    flag: 'advertise',
    kind: is.endpoint(),
    default: callersEndpoint,
    meaning:
      'Address that clients are told, with ports if they differ: `HOST[,kv=PORT][,mgmt=PORT]`; `$HOST` is the one by which each of them came',
  },
  advertiseExternal: {
    flag: 'advertise-external',
    kind: is.endpoint(),
    default: noEndpoint,
    meaning: 'The same for clients in another network: the alternate address `external` of the map',
  },
  vbuckets: {
    flag: 'vbuckets',
    kind: is.powerOfTwo({ min: 1, max: 1024 }),
    default: 1024,
    meaning: 'Vbuckets of a new bucket, a power of two; fixed once the bucket exists',
  },
  ack: {
    flag: 'ack',
    kind: is.choice(['memory', 'disk']),
    default: 'memory',
    meaning: 'When a write is acknowledged: in memory and queued for commit, or fsynced',
  },
  stopGraceSeconds: {
    flag: 'stop-grace',
    kind: is.duration({ max: hour }),
    default: 5,
    meaning: 'At a stop, how long connections have to take their last answers',
  },
  stopDeadlineSeconds: {
    flag: 'stop-deadline',
    kind: is.duration({ min: 1, max: day }),
    default: 60,
    meaning: 'At a stop, after this the process ends even if the last commit has not',
  },
} satisfies Record<string, Option>

const storage = {
  environments: {
    flag: 'environments',
    kind: is.count({ min: 1, max: 64 }),
    default: 4,
    meaning:
      'LMDB environments of a new bucket (vbucket modulo n): a pinned snapshot keeps pages from reuse in its own only',
  },
  mapSizeBytes: {
    flag: 'map-size',
    kind: is.bytes({ min: 16 * MiB, max: 16 * TiB }),
    default: 64 * GiB,
    meaning: 'Address space reserved for each environment: the most it can hold, not what it takes',
  },
  compactBytesMax: {
    flag: 'compact-max',
    kind: is.bytes({ max: 16 * TiB }),
    default: 1 * GiB,
    meaning:
      'A file of which more than half is free is written anew, at a start or once no snapshot needs it, if no more than this is in use; 0 never',
  },
  mappedBytesMax: {
    flag: 'mapped-max',
    kind: is.bytes({ max: 16 * TiB }),
    default: 256 * MiB,
    meaning:
      'Pages of files that may count as memory of the process for longer than some seconds; what is more is given back to the page cache (Linux)',
  },
  changeLogBytes: {
    flag: 'change-log',
    kind: is.bytes({ min: MiB, max: 64 * GiB }),
    default: 64 * MiB,
    meaning: 'Committed changes of a bucket kept in memory, for streams that are nearly up to date',
  },
  compression: {
    flag: 'compression',
    kind: is.choice(['off', 'passive', 'active']),
    default: 'passive',
    meaning:
      'Whether values are stored compressed (Snappy): off never, passive as clients send them, active whenever it pays',
  },
  detectJson: {
    flag: 'detect-json',
    kind: is.boolean(),
    default: true,
    meaning: 'Look whether each value is JSON; otherwise what clients say of it is believed',
  },
  documentCacheBytes: {
    flag: 'document-cache',
    kind: is.bytes({ max: 1024 * GiB }),
    default: 512 * MiB,
    memoryShareMax: 1 / 8,
    meaning:
      'Documents of a bucket kept in memory for reads, written or read last; 0 keeps none; the default is at most an eighth of the memory there is',
  },
  commitIntervalSeconds: {
    flag: 'commit-interval',
    kind: is.duration({ max: minute }),
    default: 0.1,
    meaning:
      'How long changes that no client waits for are gathered, for a commit or, when they are many, for the journal; 0 commits without pause',
  },
  unflushedSoftBytes: {
    flag: 'unflushed-soft',
    kind: is.bytes({ min: MiB, max: 64 * GiB }),
    default: 256 * MiB,
    memoryShareMax: 1 / 32,
    meaning:
      'Bytes not yet committed beyond which the sockets of writers are no longer read; the default is at most 1/32 of the memory there is',
  },
  unflushedHardBytes: {
    flag: 'unflushed-hard',
    kind: is.bytes({ min: MiB, max: 64 * GiB }),
    default: 512 * MiB,
    memoryShareMax: 1 / 16,
    meaning:
      'Bytes not yet committed beyond which writes are answered TMPFAIL; the default is at most 1/16 of the memory there is',
  },
} satisfies Record<string, Option>

const limits = {
  bucketsMax: {
    flag: 'buckets-max',
    kind: is.count({ min: 1, max: 128 }),
    default: 32,
    meaning: 'Buckets at once: each has threads, files and address space of its own',
  },
  rangeScansMax: {
    flag: 'range-scans-max',
    kind: is.count({ max: 1024 }),
    default: 64,
    meaning:
      'Range scans of a bucket at once; each pins a snapshot and may keep 8,192 keys in memory',
  },
  rangeScanSeconds: {
    flag: 'range-scan-age',
    kind: is.duration({ min: 1, max: day }),
    default: 180,
    meaning: 'How long a range scan may last; then it is cancelled and its snapshot let go',
  },
  connectionsMax: {
    flag: 'connections-max',
    kind: is.count({ min: 1, max: 1_000_000 }),
    default: 10_000,
    meaning: 'Client connections at once; a further one is closed at accept',
  },
  httpConnectionsMax: {
    flag: 'http-connections-max',
    kind: is.count({ min: 1, max: 1_000_000 }),
    default: 4_096,
    meaning: 'Connections to each of the HTTP ports at once; a further one is closed at accept',
  },
  mapStreamsMax: {
    flag: 'map-streams-max',
    kind: is.count({ max: 1_000_000 }),
    default: 1_024,
    meaning: 'HTTP clients that follow the cluster map of a bucket at once',
  },
  outputBytesMax: {
    flag: 'output-max',
    kind: is.bytes({ min: 64 * KiB, max: GiB }),
    default: 8 * MiB,
    meaning: 'Answers a connection may leave unread before its requests are no longer read',
  },
  keyBytesMax: {
    flag: 'key-max',
    kind: is.bytes({ min: 1, max: 250 }),
    default: 250,
    meaning: 'Longest key; 250 is what memcached clients expect',
  },
  valueBytesMax: {
    flag: 'value-max',
    kind: is.bytes({ min: 1, max: 256 * MiB }),
    default: 20 * MiB,
    meaning: 'Longest value; beyond it a write is answered E2BIG and the connection stays',
  },
  frameBytesMax: {
    flag: 'frame-max',
    kind: is.bytes({ min: 4 * KiB, max: 512 * MiB }),
    default: 21 * MiB,
    meaning: 'Longest request; room for a value, its key and what surrounds them',
  },
} satisfies Record<string, Option>

const logs = {
  logLevel: {
    flag: 'log-level',
    kind: is.choice(['debug', 'info', 'warn', 'error', 'silent']),
    default: 'info',
    meaning: 'Least severe line that is written (JSON lines on standard error)',
  },
  logKeys: {
    flag: 'log-keys',
    kind: is.boolean(),
    default: false,
    meaning: 'Write document keys into the log; otherwise they are user data and redacted',
  },
} satisfies Record<string, Option>

/** The name in code (units last) to its row, in the order people read them. */
export const options = {
  ...serving,
  ...security,
  ...storage,
  ...limits,
  ...streams,
  ...purging,
  ...logs,
}

export type SettingName = keyof typeof options
type Rows = readonly (readonly [SettingName, Option])[]

const rowsOf = (table: object): Rows => Object.entries(table) as unknown as Rows

/** Rows by what they are about, for `--help`. */
export const optionGroups: readonly { readonly title: string; readonly rows: Rows }[] = [
  { title: 'Serving', rows: rowsOf(serving) },
  { title: 'Security', rows: rowsOf(security) },
  { title: 'Storage', rows: rowsOf(storage) },
  { title: 'Limits', rows: rowsOf(limits) },
  { title: 'Streams', rows: rowsOf(streams) },
  { title: 'Purging', rows: rowsOf(purging) },
  { title: 'Logs', rows: rowsOf(logs) },
]

/** Rows as a list, for code that treats all settings alike. */
export const optionRows: Rows = rowsOf(options)

export function environmentName(flag: string): string {
  return `HOLDFAST_${flag.toUpperCase().replaceAll('-', '_')}`
}
