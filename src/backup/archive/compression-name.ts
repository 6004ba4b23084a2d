/** How blocks can be compressed; the number is what their headers say. */
export const Compression = {
  none: 0,
  deflate: 1,
  snappy: 2,
} as const
export type CompressionName = keyof typeof Compression

export const compressionNames = Object.keys(Compression) as CompressionName[]
