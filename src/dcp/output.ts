/** Where a producer writes its frames: one client connection, as the server sees it. */
export interface DcpOutput {
  /**
   * Takes the bytes over: the caller must not touch them again, unless `taken` is called, as it
   * may be, once the kernel has a copy.
   */
  write(bytes: Uint8Array, taken?: () => void): void
  /** Bytes written here that the kernel has not taken yet, answers to commands included. */
  readonly queuedBytes: number
  /** Called when `queuedBytes` has come down. */
  onDrain: (() => void) | undefined
  /** Closes the connection; what is queued may be lost. */
  close(reason: string): void
}
