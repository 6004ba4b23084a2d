/**
 * `docs/compatibility.md` out of what the clients were seen to do and of the table of opcodes.
 *
 *   node compatibility.js     writes the results that INTEROP_RECORD=true has gathered, if any, and
 *                             the document
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { DcpControlKey } from '../../../protocol/dcp/control.ts'
import { Feature, featureMeaning, type FeatureName } from '../../../protocol/feature.ts'
import { opcodeTable } from '../../../protocol/opcode-table.ts'
import { isGranted } from '../../../src/commands/features.ts'
import { commandRows } from '../../../src/commands/table.ts'
import {
  compatibilityFile,
  readCompatibility,
  recordFolder,
  type ClientName,
  type Compatibility,
  type Outcome,
} from './results.ts'

export const documentFile = resolve(import.meta.dirname, '../../../../docs/compatibility.md')

/** As people know the clients, with the version that is tried. */
const clients: Readonly<Record<ClientName, string>> = {
  'node-sdk': 'Node SDK 4.7.0',
  'python-sdk': 'Python SDK 4.6.3',
  'java-sdk': 'Java SDK 3.12.2',
  'java-dcp': 'Java DCP client 0.56.0',
  gocbcore: 'gocbcore 10.8.1',
  cbdatasource: 'cbdatasource (go-couchbase 0.1.1)',
}
const names = Object.keys(clients) as ClientName[]

export function documentOf(compatibility: Compatibility): string {
  return `# Compatibility

What other people's clients, unmodified, can do with Holdfast, as the interop suite (\`npm run
test:interop\`) sees it. This file is written by \`npm run compatibility\`.

## Clients

- **works**: it does what its documentation says.
- **refused**: the client says that the server cannot do this, by the error that is named.
- **fails**: it ends with the error that is named.
- **–**: this client is not asked to do it.

${clientTable(compatibility)}

memcached's own clients are tried as well: \`memccapable\` (its binary tests, all of them), the tools of
libmemcached, and memjs.

## Change streams

What a client may set on a connection for streams, by DCP_CONTROL. Any other name is answered EINVAL (0x04); that,
and NOT_SUPPORTED (0x83), clients take as "go on without".

${controlRows()}

**Out-of-order snapshots** are a permission, not a demand: kv_engine's description of them says that one "will only be
transmitted if the client has enabled the feature" (\`docs/dcp/documentation/commands/oso-snapshot.md\`), and whether a backfill is
one its own server decides each time anew. So a client that asked has to take plain snapshots, and gets
nothing else here: backfills come in the order of seqnos, through a filter of collections, too, between plain markers.
No DCP_OSO_SNAPSHOT (0x65) is sent. Refusing the permission would end the connection of gocbcore.

## Durable writes

On one node a majority is this node. A write with \`majority\` is acknowledged when it is made, one with
\`majorityAndPersistActive\` or \`persistToMajority\` when it is fsynced.

SYNC_WRITE_IN_PROGRESS (0xa2) is never answered. In Couchbase a durable write is first prepared, and may
still be given up; until that is decided nobody sees it, and another write of the same key is refused for that time. Here
nothing is prepared and nothing given up: a durable write is made at once, in its place among all
others, and only its acknowledgement waits. So

- a second write of the same key is made behind the first, and as one log is synced, its acknowledgement
  says that the first is durable, too;
- who reads meanwhile sees what has been written, which a power cut may still take away until it is
  acknowledged. Couchbase shows the version before for that time. Who must not see what may be lost has to
  write durably and wait, as the README's guarantees say;
- SYNC_WRITE_RE_COMMIT_IN_PROGRESS (0xa4) is never answered either; SYNC_WRITE_AMBIGUOUS (0xa3) is, when the timeout
  passes, or the daemon stops, before the write is durable. The write stays made.

## Features of HELLO

What a client may ask for. Of what is asked, what is granted is answered; what is not stays off, and clients go on
without.

${featureRows()}

## Commands

Every opcode of memcached's binary protocol and of Couchbase's extensions. What is not there, as any number
without a row, is answered UNKNOWN_COMMAND (0x81), and the connection lives.

${opcodeRows()}
`
}

function clientTable(compatibility: Compatibility): string {
  const features = new Set(names.flatMap(name => Object.keys(compatibility[name] ?? {})))
  const rows = [...features].map(feature => [
    feature,
    ...names.map(name => cell(compatibility[name]?.[feature])),
  ])
  const titles = names.map(name => clients[name])
  return table(['feature', ...titles], rows)
}

function cell(outcome: Outcome | undefined): string {
  if (outcome === undefined) return '–'
  const { result, detail } = outcome
  return detail === '' ? result : `${result}: ${detail}`
}

/** What each control does, where it is not only what its name says. */
const controlEffects: Readonly<Record<DcpControlKey, string>> = {
  backfill_order: 'in force: `round-robin`, `sequential`',
  backfill_resume: 'in force; ours, see [backfill-resume.md](backfill-resume.md)',
  change_streams: 'refused: NOT_SUPPORTED',
  connection_buffer_size: 'in force: flow control',
  enable_expiry_opcode: 'in force; with it the times of deletions come, too',
  enable_noop: 'in force',
  enable_out_of_order_snapshots: 'accepted, and not made use of: see below',
  enable_stream_id: 'in force',
  enable_sync_writes: 'refused: NOT_SUPPORTED',
  consumer_name: 'accepted, without effect',
  flatbuffers_system_events:
    'refused: NOT_SUPPORTED; accepted, without effect, if the client knows no collections',
  force_value_compression: 'in force, if HELLO has granted `snappy`; otherwise EINVAL',
  include_deleted_user_xattrs: 'in force, if DCP_OPEN has asked for it; otherwise EINVAL',
  max_marker_version: 'in force: `1.0`, `2.0`, `2.2`',
  send_stream_end_on_client_close_stream: 'in force',
  set_noop_interval: 'in force, from half a second',
  set_priority: 'in force: `low`, `medium`, `high`',
  stream_buffer_size: 'refused: NOT_SUPPORTED',
  supports_cursor_dropping: 'accepted, without effect',
  supports_cursor_dropping_vulcan: 'accepted, without effect',
  v7_dcp_status_codes: 'accepted, without effect',
}

function controlRows(): string {
  const names = Object.values(DcpControlKey).toSorted()
  const rows = names.map(name => [`\`${name}\``, controlEffects[name]])
  return table(['control', 'here'], rows)
}

function featureRows(): string {
  const rows = (Object.keys(Feature) as FeatureName[]).map(name => [
    `\`0x${Feature[name].toString(16).padStart(2, '0')}\``,
    `\`${name}\``,
    isGranted(Feature[name]) ? 'yes' : 'no',
    featureMeaning[name],
  ])
  return table(['code', 'name', 'granted', 'meaning'], rows)
}

function opcodeRows(): string {
  const served = new Set<number>(commandRows.map(({ opcode }) => opcode))
  const sorted = opcodeTable.toSorted((one, other) => one.code - other.code)
  const rows = sorted.map(({ code, name, meaning }) => [
    `\`0x${code.toString(16).padStart(2, '0')}\``,
    `\`${name}\``,
    served.has(code) ? 'yes' : 'no',
    meaning,
  ])
  return table(['opcode', 'name', 'there', 'meaning'], rows)
}

function table(titles: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(' | ')} |`
  const rule = line(titles.map(() => '---'))
  // The formatter would align it, which makes each change one of the whole table.
  return ['<!-- prettier-ignore -->', line(titles), rule, ...rows.map(line)].join('\n')
}

/** What was known, with what has been seen anew in its place. */
function gathered(): Compatibility {
  const known = readCompatibility()
  const seen = existsSync(recordFolder) ? readdirSync(recordFolder) : []
  for (const name of seen) {
    const text = readFileSync(join(recordFolder, name), 'utf8')
    known[basename(name, '.json')] = JSON.parse(text) as Record<string, Outcome>
  }
  return known
}

if (process.argv[1] === import.meta.filename) {
  const compatibility = gathered()
  writeFileSync(compatibilityFile, `${JSON.stringify(compatibility, undefined, 2)}\n`)
  writeFileSync(documentFile, documentOf(compatibility))
}
