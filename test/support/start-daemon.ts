import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'

/** A daemon in a process of its own, as a user runs it. */
export interface DaemonProcess {
  readonly host: string
  readonly port: number
  /** Not a number if it is not served. */
  readonly tlsPort: number
  readonly httpPort: number
  /** The same. */
  readonly httpsPort: number
  readonly pid: number
  readonly data: string
  /** Every line of standard output so far. */
  readonly stdout: readonly string[]
  /** Every line of standard error so far: the log, as text. */
  readonly stderr: readonly string[]
  /** Resolves with the exit code, or the name of the signal that ended it. */
  readonly exited: Promise<number | string>
  /** The first line of standard error, past or to come, that `text` occurs in. */
  line(text: string): Promise<string>
  /** Asks for a clean stop with SIGTERM and waits for it. */
  stop(): Promise<number | string>
  /** `kill -9`. */
  kill(): Promise<number | string>
}

/** What is needed of a tap test. */
interface Test {
  teardown(end: () => Promise<unknown>): void
  testdir(): string
}

interface Options {
  /** Of an earlier daemon, to start on what it left. */
  readonly data?: string
  readonly flags?: readonly string[]
  /** For node itself. */
  readonly nodeFlags?: readonly string[]
  readonly environment?: Record<string, string>
  /** The program; by default the compiled daemon of this build. */
  readonly program?: string
  readonly cwd?: string
}

const deadlineMs = 20_000
const compiledDaemon = resolve(import.meta.dirname, '../../bin/holdfastd.js')
const readyLine =
  /^holdfastd ready on (?:(\S+):(\d+))?(?: and )?(?:tls \S+:(\d+))?, (?:http on \S+:(\d+))?(?: and )?(?:https on \S+:(\d+))?, data in .+$/

/**
 * Starts a daemon on free ports and waits for its ready line. It is killed when the test ends,
 * whatever happened. Of this process's environment it sees nothing that would configure it.
 */
export async function startDaemon(test: Test, options: Options = {}): Promise<DaemonProcess> {
  const data = options.data ?? join(test.testdir(), 'data')
  const flags = ['--port', '0', '--http-port', '0', '--data', data, ...(options.flags ?? [])]
  const program = [...(options.nodeFlags ?? []), options.program ?? compiledDaemon]
  const child = spawn(process.execPath, [...program, ...flags], {
    stdio: ['ignore', 'pipe', 'pipe'],
    cwd: options.cwd,
    env: { ...environmentWithoutSettings(), ...options.environment },
  })
  const exited = once(child, 'close').then(([code, signal]) => (code ?? signal) as number | string)
  const end = (signal: NodeJS.Signals) => () => {
    child.kill(signal)
    return exited
  }
  test.teardown(end('SIGKILL'))
  const log = new Lines(child)
  const stdout: string[] = []
  const ready = await readReadyLine(child, exited, log, stdout)
  const [, host = '', port, tlsPort, httpPort, httpsPort] = ready
  return {
    host,
    port: Number(port),
    tlsPort: Number(tlsPort),
    httpPort: Number(httpPort),
    httpsPort: Number(httpsPort),
    pid: child.pid!,
    data,
    stdout,
    stderr: log.lines,
    exited,
    line: text => withinDeadline(log.find(text), `a line with "${text}"`, log),
    stop: () => withinDeadline(end('SIGTERM')(), 'a clean stop', log),
    kill: end('SIGKILL'),
  }
}

function environmentWithoutSettings(): NodeJS.ProcessEnv {
  return Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !name.startsWith('HOLDFAST_')),
  )
}

async function readReadyLine(
  child: ChildProcess,
  exited: Promise<number | string>,
  log: Lines,
  stdout: string[],
): Promise<RegExpExecArray> {
  const ready = new Promise<RegExpExecArray>(resolve => {
    createInterface({ input: child.stdout! }).on('line', line => {
      stdout.push(line)
      const match = readyLine.exec(line)
      if (match !== null) resolve(match)
    })
  })
  const ended = exited.then(code => {
    throw new Error(`the daemon ended with ${code} before it was ready:\n${log.lines.join('\n')}`)
  })
  return await withinDeadline(Promise.race([ready, ended]), 'the ready line', log)
}

/** The lines of a process's standard error, and those who wait for one. */
class Lines {
  readonly lines: string[] = []
  readonly #waiting: ((line: string) => void)[] = []

  constructor(child: ChildProcess) {
    createInterface({ input: child.stderr! }).on('line', line => {
      this.lines.push(line)
      for (const seen of this.#waiting) seen(line)
    })
  }

  find(text: string): Promise<string> {
    const known = this.lines.find(line => line.includes(text))
    if (known !== undefined) return Promise.resolve(known)
    return new Promise(resolve => {
      this.#waiting.push(line => {
        if (line.includes(text)) resolve(line)
      })
    })
  }
}

async function withinDeadline<T>(promise: Promise<T>, awaited: string, log: Lines): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new Error(`${awaited} did not come in ${deadlineMs} ms:\n${log.lines.join('\n')}`))
    }, deadlineMs)
  })
  return await Promise.race([promise, late]).finally(() => clearTimeout(timer))
}
