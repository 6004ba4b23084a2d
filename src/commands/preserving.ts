import { Opcode } from '../../protocol/opcode.ts'

/** Commands that can be asked to keep the expiry a document has: those of Couchbase. */
export const preserving: ReadonlySet<number> = new Set([
  Opcode.set,
  Opcode.setq,
  Opcode.replace,
  Opcode.replaceq,
  Opcode.increment,
  Opcode.incrementq,
  Opcode.decrement,
  Opcode.decrementq,
  Opcode.append,
  Opcode.appendq,
  Opcode.prepend,
  Opcode.prependq,
  Opcode.subdocDictAdd,
  Opcode.subdocDictUpsert,
  Opcode.subdocDelete,
  Opcode.subdocReplace,
  Opcode.subdocArrayPushLast,
  Opcode.subdocArrayPushFirst,
  Opcode.subdocArrayInsert,
  Opcode.subdocArrayAddUnique,
  Opcode.subdocCounter,
  Opcode.subdocMultiMutation,
  Opcode.subdocReplaceBodyWithXattr,
])
