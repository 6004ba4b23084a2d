/**
 * Valid requests to begin from: every command in the table with extras, keys and values of the
 * lengths it takes, the ones that matter most with contents that get past the first checks, and
 * all messages written down in the test vectors, also those that only servers send.
 */
import { DcpControlKey } from '../../protocol/dcp/control.ts'
import { Datatype } from '../../protocol/datatype.ts'
import { encodeRequest, type RequestFields } from '../../protocol/requests.ts'
import { encodeRequestFraming } from '../../protocol/framing.ts'
import { Feature } from '../../protocol/feature.ts'
import { Magic } from '../../protocol/magic.ts'
import { Opcode } from '../../protocol/opcode.ts'
import type { CommandRow } from '../../src/commands/command.ts'
import { commandRows } from '../../src/commands/table.ts'
import { readVectorFiles, vectorBytes } from '../protocol/vector-files.ts'
import { repeated } from '../support/snappy-blocks.ts'
import type { Seeded } from './seeded.ts'
import { subdocRequests } from './subdoc-corpus.ts'

/** The vbuckets of a fuzzed bucket. Those from `unsettledVbucket` on change state all the time. */
export const vbucketCount = 16
const unsettledVbucket = 12

/** What a client knows of a vbucket when it asks for its stream again. */
export interface Position {
  vbuuid: bigint
  seqno: number
  snapshotStart: number
  snapshotEnd: number
}

type Parts = Partial<RequestFields>
type Make = (random: Seeded) => Parts

/**
 * Commands that end a connection, stop it for long, or cost the disk a lot: how many others come
 * for each of them.
 */
const rarity: Readonly<Record<number, number>> = {
  [Opcode.quit]: 40,
  [Opcode.quitq]: 40,
  [Opcode.flush]: 2000,
  [Opcode.flushq]: 2000,
  [Opcode.createBucket]: 400,
  [Opcode.deleteBucket]: 400,
  [Opcode.setVbucket]: 100,
  [Opcode.delVbucket]: 200,
  [Opcode.compactDb]: 100,
  [Opcode.seqnoPersistence]: 20,
  [Opcode.stat]: 10,
}

/** Named so that a mutation does not easily turn them into buckets that others need. */
const bucketNames = ['extra-1', 'extra-2', 'extra-3']

const rangeScans = [
  '{"range":{"start":"","end":"/w=="}}',
  '{"range":{"excl_start":"a2V5","excl_end":"a2V5LTk="},"key_only":true}',
  '{"sampling":{"samples":10,"seed":5}}',
  '{"range":{"start":"","end":"/w=="},"snapshot_requirements":{"vb_uuid":"1","seqno":1}}',
]

const special: Readonly<Record<number, Make>> = {
  ...subdocRequests,
  [Opcode.hello]: random => ({
    key: random.pick(['fuzz', '{"a":"fuzz","i":"1/2"}', '']),
    value: uint16s(Object.values(Feature).filter(() => !random.oneIn(3))),
  }),
  [Opcode.saslAuth]: random => ({
    key: random.pick(['PLAIN', 'SCRAM-SHA512']),
    value: '\0user\0password',
  }),
  [Opcode.stat]: random => ({ key: random.pick(statisticsGroups) }),
  [Opcode.selectBucket]: random => ({
    key: random.pick(['default', 'default', 'default', '@no bucket@', ...bucketNames]),
  }),
  [Opcode.createBucket]: random => ({ key: random.pick(bucketNames), value: 'ep.so\0a=b' }),
  [Opcode.deleteBucket]: random => ({ key: random.pick(bucketNames), value: 'force=true' }),
  [Opcode.setVbucket]: random => ({
    vbid: unsettledVbucket + random.below(vbucketCount - unsettledVbucket),
    extras: Buffer.from([1 + random.below(4)]),
    value: '',
  }),
  [Opcode.delVbucket]: random => ({
    vbid: unsettledVbucket + random.below(vbucketCount - unsettledVbucket),
    value: random.pick(['', 'async=0', 'async=1']),
  }),
  [Opcode.getErrorMap]: random => ({ value: uint16s([random.below(4)]) }),
  [Opcode.observe]: random => ({
    value: Buffer.concat([uint16s([vbidOf(random), 5]), Buffer.from('key-1')]),
  }),
  [Opcode.observeSeqno]: random => ({ value: numbers(random, 8) }),
  [Opcode.compactDb]: random => {
    const extras = Buffer.alloc(24)
    extras[16] = random.below(2)
    return { extras }
  },
  [Opcode.set]: random => (random.oneIn(4) ? compressed(random) : {}),
  [Opcode.append]: random => (random.oneIn(8) ? compressed(random) : {}),
  [Opcode.rangeScanCreate]: random => ({
    value: random.pick(rangeScans),
    datatype: Datatype.json,
  }),
  [Opcode.dcpOpen]: random => ({
    extras: uint32s([0, random.pick([1, 1, 1, 5, 0x21, 0x25, 0x2d, 0])]),
    key: `stream-${random.below(4)}`,
    value: random.pick(['', '', '{"consumer_name":"x"}']),
  }),
  [Opcode.dcpControl]: random => ({
    key: random.pick(Object.values(DcpControlKey)),
    value: random.pick(controlValues),
  }),
  [Opcode.dcpStreamRequest]: random => ({
    extras: streamRequestExtras(random),
    value: random.oneIn(2) ? '' : random.pick(streamRequestValues),
  }),
  [Opcode.dcpBufferAcknowledgement]: random => ({ extras: uint32s([random.below(100_000)]) }),
}

const statisticsGroups = [
  '|settings|reset|timings|vbucket|vbucket-seqno 3|vbucket-details|failovers|failovers 1',
  'key key-1 1|dcp|parked|slabs|no-such-group',
].flatMap(groups => groups.split('|'))

const controlValues = [
  'true false 0 1 1000 20971520 0.5 180 high low 2.2 2.0 round-robin sequential',
  'true_with_seqno_advanced {"id":"x","grace":1}',
].flatMap(values => values.split(' '))

const streamRequestValues = [
  '',
  '{}',
  '{"uid":"0","collections":["0"]}',
  '{"scope":"0"}',
  '{"sid":7}',
  '{"purge_seqno":"10"}',
  '{"uid":"zz"}',
  '[',
  'null',
]

/** Lengths and numbers where arithmetic goes wrong. */
export const edges = [0, 1, 2, 24, 127, 128, 250, 251, 255, 256, 0x7fff, 0xffff, 0x7fffffff]

const vectorRequests: readonly Buffer[] = readVectorFiles()
  .flatMap(({ vectors }) => vectors)
  .map(vector => vectorBytes(vector))
  .filter(bytes => bytes.length >= 24 && bytes[0] !== Magic.serverRequest)

const undefinedOpcodes = Array.from({ length: 256 }, (_, opcode) => opcode).filter(
  opcode => !commandRows.some(row => row.opcode === opcode),
)

/** A request that no mutation has touched yet; yours to change. */
export function validRequest(random: Seeded): Buffer {
  if (random.oneIn(12)) return Buffer.from(random.pick(vectorRequests))
  if (random.oneIn(40)) return requestWith(random, undefinedRow(random))
  for (;;) {
    const row = random.pick(commandRows)
    const rarely = rarity[row.opcode]
    if (rarely === undefined || random.oneIn(rarely)) return requestWith(random, row)
  }
}

/**
 * What makes a connection one for streams, without which many commands are refused at once; some
 * of the streams go on where those of an earlier connection were.
 */
export function openingRequests(
  random: Seeded,
  positions: ReadonlyMap<number, Position>,
): Buffer[] {
  const request = (opcode: Opcode) =>
    requestWith(
      random,
      commandRows.find(row => row.opcode === opcode)!,
    )
  const opening = [request(Opcode.hello)]
  if (!random.oneIn(2)) return opening
  opening.push(request(Opcode.dcpOpen))
  for (let count = random.below(4); count > 0; count--) opening.push(request(Opcode.dcpControl))
  // A window that is soon full: then a stream is cut off in the middle of its backfill.
  if (random.oneIn(2)) opening.push(control('connection_buffer_size', '20000'))
  if (random.oneIn(2)) opening.push(control('backfill_resume', random.pick(resumeValues)))
  for (let count = random.below(6); count > 0; count--) {
    opening.push(request(Opcode.dcpStreamRequest))
  }
  for (const [vbid, position] of positions) opening.push(streamRequestFrom(vbid, position))
  return opening
}

const resumeValues = ['true', 'false', '{"id":"fuzz","grace":1}', '{"id":"other"}']

function control(key: string, value: string): Buffer {
  return encodeRequest({ opcode: Opcode.dcpControl, key, value })
}

function streamRequestFrom(vbid: number, position: Position): Buffer {
  const extras = Buffer.alloc(48)
  extras.writeBigUInt64BE(BigInt(position.seqno), 8)
  extras.fill(0xff, 16, 24)
  extras.writeBigUInt64BE(position.vbuuid, 24)
  extras.writeBigUInt64BE(BigInt(position.snapshotStart), 32)
  extras.writeBigUInt64BE(BigInt(position.snapshotEnd), 40)
  return encodeRequest({ opcode: Opcode.dcpStreamRequest, opaque: vbid + 1, vbid, extras })
}

function requestWith(random: Seeded, row: CommandRow): Buffer {
  const parts: RequestFields = {
    opcode: row.opcode,
    opaque: random.uint32(),
    vbid: vbidOf(random),
    extras: numbers(random, random.pick(row.extras)),
    key: row.key === 'none' ? '' : `key-${random.below(200)}`,
    value: row.value === 'none' ? '' : valueOf(random),
    ...special[row.opcode]?.(random),
  }
  if (random.oneIn(30)) parts.cas = BigInt(random.uint32())
  if (random.oneIn(20)) parts.datatype = random.below(8)
  if (random.oneIn(20)) parts.framing = framingOf(random)
  return encodeRequest(parts)
}

function undefinedRow(random: Seeded): CommandRow {
  const extras = [random.below(33)]
  const lengths = { extras, key: 'optional', value: 'optional' } as const
  const opcode = random.pick(undefinedOpcodes) as Opcode
  return { opcode, ...lengths, target: 'node', privilege: 0 }
}

function vbidOf(random: Seeded): number {
  return random.oneIn(50) ? random.below(0x1_0000) : random.below(vbucketCount)
}

function valueOf(random: Seeded): string {
  if (random.oneIn(4)) return String(random.uint32())
  if (random.oneIn(4)) return '{"a":[1,2,{"b":null}]}'
  return 'v'.repeat(random.oneIn(50) ? random.below(20_000) : random.below(100))
}

function framingOf(random: Seeded): Buffer {
  return encodeRequestFraming({
    ...(random.oneIn(2) ? { durabilityLevel: random.pick([1, 2, 3] as const) } : {}),
    ...(random.oneIn(4) ? { preserveExpiry: true } : {}),
    ...(random.oneIn(8) ? { barrier: true } : {}),
  })
}

/** Mostly small numbers, as counters, flags and expiries are. */
function numbers(random: Seeded, length: number): Buffer {
  const bytes = Buffer.alloc(length)
  for (let at = 0; at + 4 <= length; at += 4) {
    if (random.oneIn(3)) bytes.writeUInt32BE(random.pick(edges), at)
  }
  return bytes
}

/** A vbucket's changes from somewhere, with bounds that are possible. */
function streamRequestExtras(random: Seeded): Buffer {
  const extras = Buffer.alloc(48)
  const start = random.oneIn(2) ? 0 : random.below(2_000)
  extras.writeUInt32BE(random.pick([0, 0, 0x80, 4, 2, 0x10, 0x20, 0x40, 1]), 0)
  extras.writeUInt32BE(start, 12)
  if (random.oneIn(2)) extras.fill(0xff, 16, 24)
  else extras.writeUInt32BE(start + random.below(2_000), 20)
  extras.writeUInt32BE(start, 36)
  extras.writeUInt32BE(start + random.below(10), 44)
  return extras
}

/** A Snappy block that may be one. */
function compressed(random: Seeded): Parts {
  const block = repeated('x', 1 + random.below(3000))
  if (random.oneIn(3)) block[random.below(block.length)] = random.below(256)
  return { value: block, datatype: Datatype.snappy }
}

function uint16s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 2)
  for (const [index, value] of values.entries()) bytes.writeUInt16BE(value, index * 2)
  return bytes
}

function uint32s(values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4)
  for (const [index, value] of values.entries()) bytes.writeUInt32BE(value, index * 4)
  return bytes
}
