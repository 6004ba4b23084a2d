/**
 * `docs/compatibility.md` out of what the clients were seen to do and of the table of opcodes.
 *
 *   node compatibility.js     writes the results that INTEROP_RECORD=true has gathered, if any, and
 *                             the document
 */
import { existsSync, readFileSync, readdirSync, writeFileSync } from 'node:fs'
import { basename, join, resolve } from 'node:path'
import { opcodeTable } from '../../../protocol/opcode-table.ts'
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

What a client may set on a connection for streams, by DCP_CONTROL:

- **Out-of-order snapshots** (\`enable_out_of_order_snapshots\`) are accepted and not made use of: it is a permission,
  and backfills come in the order of seqnos here, through a filter of collections, too, between plain markers. No
  DCP_OSO_SNAPSHOT (0x65) is sent. Refusing it would end the connection of gocbcore.
- Accepted, and without effect: \`supports_cursor_dropping\`, \`supports_cursor_dropping_vulcan\`,
  \`v7_dcp_status_codes\`, \`consumer_name\`.
- Refused with NOT_SUPPORTED (0x83), by which clients go on without: \`enable_sync_writes\`, \`stream_buffer_size\`,
  \`change_streams\`, \`flatbuffers_system_events\` for clients with collections. Any other name: EINVAL (0x04).

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
