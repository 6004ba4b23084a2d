import type { RawBlock, Segment, SegmentOptions } from './segment-builder.ts'

/**
 * To the thread that makes segments, which answers each. Memory goes over, and comes back: `released`
 * is of segments that it made.
 */
export type ToSegmentThread =
  | {
      readonly type: 'add'
      readonly object: number
      /** With the first block of the object. */
      readonly options: SegmentOptions | undefined
      readonly block: Omit<RawBlock, 'memory'> & { readonly memory: Uint8Array }
      readonly released: readonly Uint8Array[]
    }
  | { readonly type: 'end'; readonly object: number }

export interface FromSegmentThread {
  readonly object: number
  /** Its bytes are one chunk. */
  readonly segment?:
    (Omit<Segment, 'chunks' | 'release'> & { readonly bytes: Uint8Array }) | undefined
  readonly freed: readonly Uint8Array[]
  readonly error?: Error
}
