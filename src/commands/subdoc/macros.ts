/**
 * Macros: values that stand for what only the server knows. Those about the mutation itself are put
 * in when it is written, into room that has been left for them; those about the document as it
 * was, `"${$document…}"`, are looked up at once.
 */
import { uint64From } from '../../../protocol/bytes.ts'
import type { RecordView } from '../../storage/record.ts'
import { crc32c } from '../../checksum.ts'
import { knownFragment, type Fragment } from './fragment.ts'
import { getPath } from './lookups.ts'

/**
 * Room for a macro is a string of as many bytes as will come, and of bytes that neither UTF-8 nor
 * JSON has: nothing else in a document can look like it.
 */
interface Macro {
  readonly text: string
  readonly room: Buffer
  readonly expand: (record: RecordView, bodyStart: number) => string
}

const quote = 0x22

function roomOf(mark: number, digits: number): Buffer {
  const room = Buffer.alloc(digits + 4, mark)
  room[0] = room[room.length - 1] = quote
  return room
}

export function hexString(value: number | bigint, digits: number): string {
  return `0x${value.toString(16).padStart(digits, '0')}`
}

/** In the byte order that the CAS has in headers of little-endian machines, as others expand it. */
function swapped(record: RecordView): bigint {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64LE(uint64From(record.casHigh, record.casLow))
  return bytes.readBigUInt64BE()
}

const mutationMacros: readonly Macro[] = [
  {
    text: '"${Mutation.CAS}"',
    room: roomOf(0xfd, 16),
    expand: record => hexString(swapped(record), 16),
  },
  {
    text: '"${Mutation.seqno}"',
    room: roomOf(0xfe, 16),
    expand: record => hexString(record.seqno, 16),
  },
  {
    text: '"${Mutation.value_crc32c}"',
    room: roomOf(0xff, 8),
    expand: (record, bodyStart) => hexString(crc32c(record.bytes, bodyStart, record.end), 8),
  },
]

const documentPrefix = '"${$document'
const suffix = '}"'

export function isMacro(value: Buffer): boolean {
  const text = value.toString('latin1')
  return (
    mutationMacros.some(macro => macro.text === text) ||
    (text.startsWith(documentPrefix) && text.endsWith(suffix))
  )
}

/**
 * What is stored for a macro for now; undefined if there is none of that name. `documentText` makes
 * the virtual attribute `$document`.
 */
export function expandMacro(value: Buffer, documentText: () => Buffer): Fragment | undefined {
  const text = value.toString('latin1')
  const macro = mutationMacros.find(candidate => candidate.text === text)
  if (macro !== undefined) return knownFragment(macro.room)
  const path = Buffer.from(text.slice('"${'.length, -suffix.length), 'latin1')
  const found = getPath(documentText(), path)
  return typeof found === 'number' ? undefined : knownFragment(found, 2)
}

/** Puts what is known now into the room that was left in the attributes of a record. */
export function sealMacros(record: RecordView, bodyStart: number): void {
  const xattrs = record.bytes.subarray(record.valueStart, bodyStart)
  for (const { room, expand } of mutationMacros) {
    let at = xattrs.indexOf(room)
    if (at < 0) continue
    const expanded = expand(record, bodyStart)
    for (; at >= 0; at = xattrs.indexOf(room, at)) xattrs.write(expanded, at + 1, 'latin1')
  }
}
