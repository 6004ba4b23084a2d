import { Opcode } from '../../protocol/opcode.ts'

/**
 * Commands whose answers may come in another order than their requests, once a client has
 * negotiated that: those that Couchbase names. Every other command runs alone, as a barrier does, so
 * that its answer tells that all before it are done.
 */
export const reorderable: ReadonlySet<number> = new Set([
  Opcode.get,
  Opcode.getk,
  Opcode.set,
  Opcode.add,
  Opcode.replace,
  Opcode.delete,
  Opcode.increment,
  Opcode.decrement,
  Opcode.append,
  Opcode.prepend,
  Opcode.gat,
  Opcode.touch,
  Opcode.getLocked,
  Opcode.unlockKey,
  Opcode.getReplica,
  Opcode.subdocGet,
  Opcode.subdocExists,
  Opcode.subdocDictAdd,
  Opcode.subdocDictUpsert,
  Opcode.subdocDelete,
  Opcode.subdocReplace,
  Opcode.subdocArrayPushLast,
  Opcode.subdocArrayPushFirst,
  Opcode.subdocArrayInsert,
  Opcode.subdocArrayAddUnique,
  Opcode.subdocCounter,
  Opcode.subdocMultiLookup,
  Opcode.subdocMultiMutation,
  Opcode.subdocGetCount,
  Opcode.subdocReplaceBodyWithXattr,
  Opcode.getAllVbSeqnos,
])
