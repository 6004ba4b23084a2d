import { closeSync, openSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { createLogger, type Logger } from '../../src/logging/logger.ts'

/** Runs `write` with a logger on a file and returns the lines it wrote. */
function logged(
  t: Test,
  settings: Partial<Parameters<typeof createLogger>[0]>,
  write: (log: Logger) => void,
): Record<string, unknown>[] {
  const path = join(t.testdir(), 'log')
  const file = openSync(path, 'w')
  const logger = createLogger({ logLevel: 'debug', logKeys: false, ...settings }, file)
  write(logger)
  closeSync(file)
  const lines = readFileSync(path, 'utf8').split('\n').filter(Boolean)
  return lines.map(line => JSON.parse(line) as Record<string, unknown>)
}

t.test('a line is JSON with time, level, what is bound to the logger, and a sentence', t => {
  const [line] = logged(t, {}, log => log.child({ connection: 7 }).warn({ vbid: 3 }, 'slow'))
  t.match(line, { level: 'warn', connection: 7, vbid: 3, msg: 'slow' })
  t.match(line!['time'], /^\d{4}-\d\d-\d\dT[\d:.]+Z$/)
  t.end()
})

t.test('document keys are redacted, also in what is bound, unless asked for', t => {
  const write = (log: Logger): void => {
    log.info({ key: Buffer.from('alice@example.org') }, 'text')
    log.child({ key: 'alice@example.org' }).info({}, 'bound')
  }
  const redacted = logged(t, {}, write)
  t.equal(redacted.length, 2)
  t.notMatch(JSON.stringify(redacted), /alice/)
  t.same(
    logged(t, { logKeys: true }, write).map(line => line['key']),
    ['alice@example.org', 'alice@example.org'],
  )
  t.end()
})

t.test('lines below the level are not written', t => {
  const lines = logged(t, { logLevel: 'warn' }, log => {
    log.info({}, 'quiet')
    log.error({}, 'loud')
  })
  t.same(
    lines.map(line => line['msg']),
    ['loud'],
  )
  t.same(
    logged(t, { logLevel: 'silent' }, log => log.fatal({}, 'nothing')),
    [],
  )
  t.end()
})

t.test('errors come with their cause, and a 64-bit number does not break the line', t => {
  const error = new Error('commit failed', { cause: new Error('disk full') })
  const [line] = logged(t, {}, log => log.error({ error, cas: 0xffff_ffff_ffff_fff0n }, 'oh'))
  t.match(line!['error'], { message: /commit failed/, stack: /disk full/ })
  t.end()
})

t.test('a log that cannot be written does not disturb', t => {
  const path = join(t.testdir({ log: '' }), 'log')
  const file = openSync(path, 'r')
  const logger = createLogger({ logLevel: 'info', logKeys: false }, file)
  for (let line = 0; line < 10; line++) logger.info({}, 'lost')
  closeSync(file)
  t.equal(readFileSync(path, 'utf8'), '')
  t.end()
})
