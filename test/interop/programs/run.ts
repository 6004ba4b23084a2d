/** Runs a client's program against a daemon and reads what it says of each feature. */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { FeatureResult } from './features.ts'

export interface ProgramOptions {
  readonly cwd?: string
  readonly env?: NodeJS.ProcessEnv
  /** Called for what a program needs done in the middle; it goes on when this resolves. */
  readonly onAsk?: (what: string) => Promise<unknown>
  readonly deadlineMs?: number
}

const stderrKept = 8_000

/** The results by feature, in order; fails when the program does not end as it should. */
export async function runProgram(
  command: string,
  words: readonly string[],
  { cwd, env, onAsk, deadlineMs = 240_000 }: ProgramOptions = {},
): Promise<FeatureResult[]> {
  const child = spawn(command, words, {
    stdio: 'pipe',
    ...(cwd === undefined ? {} : { cwd }),
    env: { ...process.env, ...env },
    timeout: deadlineMs,
    killSignal: 'SIGKILL',
  })
  const results: FeatureResult[] = []
  let stderr = ''
  child.stderr.on('data', (chunk: Buffer) => {
    stderr = (stderr + chunk.toString()).slice(-stderrKept)
  })
  child.stdin.on('error', () => undefined)
  const lines = createInterface({ input: child.stdout })
  let asked = Promise.resolve()
  lines.on('line', line => {
    if (!line.startsWith('{')) return
    const said = JSON.parse(line) as FeatureResult | { ask: string }
    if (!('ask' in said)) return void results.push(said)
    asked = Promise.resolve(onAsk?.(said.ask)).then(() => void child.stdin.write('done\n'))
  })
  const [code, signal] = (await once(child, 'close')) as [number | null, string | null]
  await asked
  if (code !== 0) throw new Error(`${command} ended with ${code ?? signal}: ${stderr}`)
  return results
}
