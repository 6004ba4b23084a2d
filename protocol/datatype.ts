/** Bits of the header's datatype byte: how the value of this frame is encoded. */
export const Datatype = {
  raw: 0,
  /** The value is JSON text. */
  json: 1,
  /** The value is one Snappy block. */
  snappy: 2,
  /** The value begins with a section of extended attributes. */
  xattr: 4,
} as const
export type Datatype = (typeof Datatype)[keyof typeof Datatype]

/** All bits that have a meaning; any other bit makes the frame invalid. */
export const datatypeMask = Datatype.json | Datatype.snappy | Datatype.xattr

/** For example `json,snappy`; `raw` when no bit is set. */
export function datatypeName(datatype: number): string {
  const bits = []
  if (datatype & Datatype.json) bits.push('json')
  if (datatype & Datatype.snappy) bits.push('snappy')
  if (datatype & Datatype.xattr) bits.push('xattr')
  const unknown = datatype & ~datatypeMask
  if (unknown) bits.push(`0x${unknown.toString(16)}`)
  return bits.length === 0 ? 'raw' : bits.join(',')
}
