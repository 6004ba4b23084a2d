#!/usr/bin/env node
import { run } from '../src/cli/program.ts'

/** As the shell says it of a process that a signal ended. */
const exitCodeOfSignal = { SIGINT: 130, SIGTERM: 143 } as const

process.exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onStop(listener) {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        process.once(signal, () => process.exit(exitCodeOfSignal[signal]))
        listener()
      })
    }
  },
})
