#!/usr/bin/env node
import { run } from '../src/cli/program.ts'

/** As the shell says it of a process that a signal ended. */
const exitCodeOfSignal = { SIGINT: 130, SIGTERM: 143 } as const

let outputError: Error | undefined
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  // Whoever reads may have enough, as behind `| head`.
  if (error.code !== 'EPIPE') outputError ??= error
})

let isStopping = false
const exitCode = await run(process.argv.slice(2), {
  stdin: process.stdin,
  stdout: process.stdout,
  stderr: process.stderr,
  env: process.env,
  onStop(listener) {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      process.once(signal, () => {
        isStopping = true
        process.once(signal, () => process.exit(exitCodeOfSignal[signal]))
        listener()
      })
    }
  },
})
if (outputError !== undefined) {
  process.stderr.write(`holdfast: cannot write the output: ${outputError.message}\n`)
}
process.exitCode = outputError === undefined ? exitCode : 1
// Whoever asked to stop does not wait for a peer that is slow to say goodbye.
if (isStopping) process.exit()
