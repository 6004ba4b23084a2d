import { recordKindName, type RecordKind } from './record.ts'

/** How many records of each kind there are, and the bytes of their keys and values. */
export interface RecordCounts {
  mutation: number
  deletion: number
  expiration: number
  documentBytes: number
}

export const noRecords: Readonly<RecordCounts> = {
  mutation: 0,
  deletion: 0,
  expiration: 0,
  documentBytes: 0,
}

/** `documentBytes`: of its key and value. */
export function countRecord(counts: RecordCounts, kind: RecordKind, documentBytes: number): void {
  counts[recordKindName[kind] as 'mutation' | 'deletion' | 'expiration']++
  counts.documentBytes += documentBytes
}

export function recordsIn({ mutation, deletion, expiration }: Readonly<RecordCounts>): number {
  return mutation + deletion + expiration
}

export function sumOf(all: readonly RecordCounts[]): RecordCounts {
  const sum = { ...noRecords }
  for (const counts of all) {
    sum.mutation += counts.mutation
    sum.deletion += counts.deletion
    sum.expiration += counts.expiration
    sum.documentBytes += counts.documentBytes
  }
  return sum
}
