#!/usr/bin/env node
import { systemClock } from '../src/clock.ts'
import { ConfigError } from '../src/config/config-error.ts'
import { describeConfiguration, loadConfiguration } from '../src/config/load.ts'
import { adminPasswordVariable } from '../src/config/sources.ts'
import type { Settings } from '../src/config/settings.ts'
import { startDaemon } from '../src/daemon.ts'
import { OperatorError } from '../src/errors.ts'
import { createLogger, type Logger } from '../src/logging/logger.ts'
import { systemRandom } from '../src/random.ts'

/** 70 as in sysexits: a bug. A second signal exits with 128 and its number, as the shell would say. */
const exitCode = { cannotServe: 1, configuration: 2, stopHung: 3, bug: 70 }
const signalNumbers = { SIGINT: 2, SIGTERM: 15 } as const

// Whoever reads the ready line or the help may go away, as behind `| head`.
process.stdout.on('error', () => {})

try {
  const configuration = loadConfiguration(process.argv.slice(2), process.env, print)
  if (configuration?.checkOnly === true) print(describeConfiguration(configuration))
  else if (configuration !== undefined) await serve(configuration.settings)
} catch (error) {
  if (!(error instanceof OperatorError)) throw error
  process.stderr.write(`holdfastd: ${error.message} [${error.code}]: ${error.hint}\n`)
  process.exit(error instanceof ConfigError ? exitCode.configuration : exitCode.cannotServe)
}

/** Runs until a signal asks for the end. */
async function serve(settings: Settings): Promise<void> {
  const logger = createLogger(settings)
  exitOnBugs(logger)
  const stopRequested = nextSignal()
  const daemon = await startDaemon(settings, {
    log: logger,
    clock: systemClock,
    random: systemRandom,
    adminPassword: process.env[adminPasswordVariable],
    tell: sentence => print(`holdfastd: ${sentence}\n`),
  })
  const { host, data } = settings
  const { port, tlsPort, httpPort, httpsPort } = daemon
  const places = [
    ...(port === undefined ? [] : [`${host}:${port}`]),
    ...(tlsPort === undefined ? [] : [`tls ${host}:${tlsPort}`]),
  ]
  const pages = [
    ...(httpPort === undefined ? [] : [`http on ${host}:${httpPort}`]),
    ...(httpsPort === undefined ? [] : [`https on ${host}:${httpsPort}`]),
  ]
  print(`holdfastd ready on ${places.join(' and ')}, ${pages.join(' and ')}, data in ${data}\n`)
  logger.info({ signal: await stopRequested }, 'stopping')
  setTimeout(() => {
    logger.fatal({ deadlineSeconds: settings.stopDeadlineSeconds }, 'the stop hung')
    process.exit(exitCode.stopHung)
  }, settings.stopDeadlineSeconds * 1000)
  await daemon.close()
  logger.info({}, 'stopped')
  process.exit(0)
}

/** The first SIGTERM or SIGINT; a second one ends the process at once. */
function nextSignal(): Promise<keyof typeof signalNumbers> {
  return new Promise(resolve => {
    let isStopping = false
    const onSignal = (signal: keyof typeof signalNumbers) => () => {
      if (isStopping) process.exit(128 + signalNumbers[signal])
      isStopping = true
      resolve(signal)
    }
    process.on('SIGTERM', onSignal('SIGTERM'))
    process.on('SIGINT', onSignal('SIGINT'))
  })
}

/** A broken invariant or a forgotten rejection: what is in memory can no longer be trusted. */
function exitOnBugs(logger: Logger): void {
  process.on('uncaughtException', (error, origin) => {
    logger.fatal({ error, origin }, 'a bug: the daemon stops at once')
    process.exit(exitCode.bug)
  })
}

function print(text: string): void {
  process.stdout.write(text)
}
