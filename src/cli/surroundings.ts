import type { Readable, Writable } from 'node:stream'

/** What a command takes from the process it runs in. */
export interface Surroundings {
  readonly stdin: Readable
  readonly stdout: Writable & { isTTY?: boolean }
  readonly stderr: Writable & { isTTY?: boolean }
  readonly env: NodeJS.ProcessEnv
  /** Calls `listener` at the first request to stop; a second one stops the process. */
  onStop(listener: () => void): void
}
