import type { Meta, MutationToken } from '../../protocol/commands/index.ts'
import type { DurabilityLevel } from '../../protocol/framing.ts'
import type { NodeClientOptions } from './node-client.ts'

export interface KvClientOptions extends NodeClientOptions {
  /** By default what the server's cluster map says. */
  vbucketCount?: number
}

export type Key = string | Uint8Array

/** Yours to keep. */
export interface Document {
  readonly value: Buffer
  readonly flags: number
  readonly cas: bigint
  readonly datatype: number
}

export interface MutationResult {
  readonly cas: bigint
  /** Names the mutation, if the server granted mutation seqnos. */
  readonly token: MutationToken | undefined
}

export interface CounterResult extends MutationResult {
  readonly value: bigint
}

export interface DocumentMeta extends Meta {
  readonly cas: bigint
}

export interface RequestOptions {
  /** Instead of the one the key belongs to. */
  vbid?: number
  timeoutMs?: number
  /**
   * As `scope.collection`, or its id; for clients that were connected with `collections`. Without
   * it, the default collection.
   */
  collection?: string | number
}

export interface MutationOptions extends RequestOptions {
  /** Only if the document still has this CAS. */
  cas?: bigint
  /** What has to hold before the answer. */
  durability?: Exclude<keyof typeof DurabilityLevel, 'none'>
  /** How long the server may try; its own choice by default. */
  durabilityTimeoutMs?: number
}

export interface StoreOptions extends MutationOptions {
  /** The application's own 32 bits, returned as they are. */
  flags?: number
  /** 0: never; up to 30 days: seconds from now; else seconds since the epoch. */
  expiry?: number
  /** Keep the expiry the document has. */
  preserveExpiry?: boolean
  datatype?: number
}

export interface CounterOptions extends MutationOptions {
  /** Default 1. */
  delta?: bigint
  /** What a counter that does not exist is created with; without it, that is an error. */
  initial?: bigint
  expiry?: number
}

export interface WithMetaOptions extends RequestOptions {
  cas: bigint
  revno: number
  flags?: number
  /** Of a deletion: its time. */
  expiry?: number
  /** Bits of `WithMetaOption`. */
  options?: number
  datatype?: number
  /** Only if the document on the server still has this CAS. */
  currentCas?: bigint
}
