import { execFile } from 'node:child_process'

export interface ToolResult {
  readonly code: number
  readonly stdout: string
  readonly stderr: string
}

interface ToolOptions {
  readonly cwd?: string
}

/** Longer than any of these tools takes on a busy machine. */
const deadlineMs = 50_000

/**
 * Runs a program of Debian's libmemcached-tools. That it is not installed is a failure like any
 * other: a check that is silently left out is none.
 */
export function runTool(
  name: string,
  flags: readonly string[],
  options: ToolOptions = {},
): Promise<ToolResult> {
  return new Promise((resolve, reject) => {
    const settings = { ...options, timeout: deadlineMs, maxBuffer: 64 * 1024 * 1024 }
    execFile(name, flags, settings, (error, stdout, stderr) => {
      if (error === null) return resolve({ code: 0, stdout, stderr })
      const { code } = error
      if (typeof code === 'number') return resolve({ code, stdout, stderr })
      reject(String(code) === 'ENOENT' ? new Error(missing(name), { cause: error }) : error)
    })
  })
}

function missing(name: string): string {
  return `${name} is not installed: apt-get install libmemcached-tools, as .ci/run does`
}
