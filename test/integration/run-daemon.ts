import { execFile } from 'node:child_process'
import { resolve } from 'node:path'

const program = resolve(import.meta.dirname, '../../bin/holdfastd.js')

export interface EndedDaemon {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

/** Runs a daemon that is expected to end by itself. */
export function runDaemon(
  flags: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<EndedDaemon> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      process.execPath,
      [program, ...flags],
      { timeout: 20_000, killSignal: 'SIGKILL', env: environment },
      (error, stdout, stderr) => {
        const code = error === null ? 0 : error.code
        if (typeof code === 'number') resolve({ code, stdout, stderr })
        else reject(new Error(`it did not end by itself:\n${stdout}${stderr}`, { cause: error }))
      },
    )
    child.stdin?.end()
  })
}
