/** A server in a process of its own, waited for and ended by its process id. */
import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect, createServer, type AddressInfo } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Context } from './benchmark.ts'

const readyDeadlineMs = 120_000
const outputLinesMax = 50

export interface ServerProcess {
  readonly pid: number
  /** Asks it to end, and waits for that. */
  stop(): Promise<void>
  /** `kill -9`, and waits for the end. */
  kill(): Promise<void>
}

interface StartOptions {
  readonly command: string
  readonly args: readonly string[]
  readonly env?: NodeJS.ProcessEnv
  readonly cwd?: string
  /** For servers that refuse to run as root. */
  readonly uid?: number
  readonly gid?: number
  readonly endWith?: NodeJS.Signals
  /** What it writes when it is ready, or the port at which it then answers. */
  readonly ready: RegExp | number
}

export interface ReadyProcess extends ServerProcess {
  /** The match of the line that said so. */
  readonly ready: RegExpExecArray
}

/** Starts it and waits until it is ready; it ends with the case. */
export async function startServerProcess(
  context: Pick<Context, 'cleanUp'>,
  options: StartOptions,
): Promise<ReadyProcess> {
  const { command, args, ready, endWith = 'SIGKILL', ...spawning } = options
  const child = spawn(command, args, { ...spawning, stdio: ['ignore', 'pipe', 'pipe'] })
  const exited = once(child, 'close').catch(() => {})
  const end = (signal: NodeJS.Signals) => async () => {
    if (child.exitCode === null && child.signalCode === null) child.kill(signal)
    await exited
  }
  context.cleanUp(end(endWith))
  const output = new Output(child)
  const isReady = typeof ready === 'number' ? answersAt(ready, child) : output.find(ready)
  const failed = exited.then(() => {
    throw new Error(`${command} ended before it was ready:\n${output.text}`)
  })
  const late = sleep(readyDeadlineMs, undefined, { ref: false }).then(() => {
    throw new Error(`${command} was not ready in ${readyDeadlineMs} ms:\n${output.text}`)
  })
  // Those that lose the race are not waited for by anybody.
  failed.catch(() => {})
  late.catch(() => {})
  const match = await Promise.race([isReady, failed, late])
  return { pid: child.pid!, ready: match, stop: end('SIGTERM'), kill: end('SIGKILL') }
}

/** One that nobody listens at; somebody else may take it before it is used, which shows. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}

async function answersAt(port: number, child: ChildProcess): Promise<RegExpExecArray> {
  while (child.exitCode === null && child.signalCode === null) {
    const socket = connect({ port, host: '127.0.0.1' })
    const isOpen = await once(socket, 'connect').then(
      () => true,
      () => false,
    )
    socket.destroy()
    if (isOpen) return /(?:)/.exec('')!
    await sleep(50)
  }
  throw new Error('it ended')
}

/** The last lines of what a process writes, and whoever waits for one of them. */
class Output {
  text = ''
  readonly #awaited: (() => void)[] = []

  constructor(child: ChildProcess) {
    for (const stream of [child.stdout!, child.stderr!]) {
      stream.setEncoding('utf8').on('data', (chunk: string) => {
        this.text = (this.text + chunk).split('\n').slice(-outputLinesMax).join('\n')
        for (const look of this.#awaited) look()
      })
    }
  }

  find(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise(resolve => {
      this.#awaited.push(() => {
        const match = pattern.exec(this.text)
        if (match !== null) resolve(match)
      })
    })
  }
}
