import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import t, { type Test } from 'tap'
import { BackupError, type BackupEvent } from '../../src/backup/index.ts'
import { backupEvents } from '../../src/cli/backup-progress.ts'
import { backupGauges } from '../../src/cli/backup-metrics.ts'
import { JobMetrics } from '../../src/cli/job-metrics.ts'
import { JobReport } from '../../src/cli/job-report.ts'
import type { Surroundings } from '../../src/cli/surroundings.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'

interface Screen {
  world: Surroundings
  stdout: () => string
  stderr: () => string
}

function screen(isTTY: boolean): Screen {
  const written = { stdout: '', stderr: '' }
  const stream = (name: keyof typeof written) =>
    Object.assign(
      new Writable({
        write(chunk, _encoding, done) {
          written[name] += String(chunk)
          done()
        },
      }),
      { isTTY },
    )
  const world = {
    stdin: new PassThrough(),
    stdout: stream('stdout'),
    stderr: stream('stderr'),
    env: {},
    onStop: () => {},
  }
  return { world, stdout: () => written.stdout, stderr: () => written.stderr }
}

const progress = (seqnosLeft: number): BackupEvent => ({
  type: 'progress',
  records: 1000 - seqnosLeft,
  documentBytes: (1000 - seqnosLeft) * 1024,
  seqnosLeft,
  seqnosTotal: 1000,
  vbucketsLeft: 1,
})

function scene(t: Test, { isTTY = false, json = false, metricsFile = '' } = {}) {
  const clock = new ManualClock()
  const shown = screen(isTTY)
  const path = join(t.testdir(), metricsFile)
  const labels = { repository: 'r', bucket: 'b"c' }
  const metrics = metricsFile
    ? new JobMetrics({ path, job: 'backup', labels, clock, gauges: backupGauges })
    : undefined
  const report = new JobReport<BackupEvent>(shown.world, {
    json,
    events: backupEvents,
    metrics,
    clock,
  })
  return { ...shown, clock, report, path }
}

const finish = () => ({ json: { type: 'complete' }, text: 'all is well\n' })

t.test('on a terminal one line says how far it is, how fast, and for how long', async t => {
  const { report, clock, stdout, stderr } = scene(t, { isTTY: true })
  await report.during(async tell => {
    tell({ type: 'backup', id: '000001', kind: 'full' })
    tell(progress(1000))
    clock.advance(1000)
    tell(progress(900))
  }, finish)
  t.equal(
    stderr(),
    'holdfast: full backup 000001\n' +
      '\r\x1b[K0.0 %: 0 changes, 0 B' +
      '\r\x1b[K10.0 %: 100 changes, 100 KiB, 100 KiB/s, 9s left\n',
  )
  t.match(stdout(), /^all is well, at most [1-9]\d* [MG]iB of memory\n$/)
})

t.test('elsewhere there is no such line', async t => {
  const { report, stderr } = scene(t)
  await report.during(async tell => tell(progress(1)), finish)
  t.equal(stderr(), '')
})

t.test('as JSON every event is a line, the end and a failure, too', async t => {
  const good = scene(t, { json: true })
  await good.report.during(async tell => tell(progress(7)), finish)
  const lines = (text: string) =>
    text
      .trimEnd()
      .split('\n')
      .map(line => JSON.parse(line) as object)
  const [event, end, ...more] = lines(good.stdout())
  t.same(event, progress(7))
  t.match(end, { type: 'complete', memoryBytes: Number })
  t.same(more, [])
  const bad = scene(t, { json: true })
  const failing = bad.report.during(() => {
    throw new BackupError('locked', 'another\nis at work')
  }, finish)
  await t.rejects(failing, { code: 'locked' })
  const message = 'holdfast: another is at work'
  t.same(lines(bad.stdout()), [{ type: 'failed', exitCode: 8, message }])
})

t.test('the file of metrics is there from the beginning, and says how it ended', async t => {
  const { report, clock, path } = scene(t, { metricsFile: 'holdfast.prom' })
  const read = () => readFileSync(path, 'utf8')
  const began = clock.nowMs() / 1000
  await report.during(async tell => {
    t.match(read(), `backup_start_timestamp_seconds{repository="r",bucket="b\\"c"} ${began}\n`)
    t.match(read(), /backup_exit_code\{.*\} -1\n/)
    tell({ type: 'step', step: 'stream', state: 'begun' })
    tell({ type: 'vbucket', vbid: 1, action: 'rebase', reason: '' })
    tell({ type: 'vbucket', vbid: 2, action: 'rebase', reason: '' })
    tell(progress(400))
    clock.advance(5000)
    while (!read().includes('seqnos_left{repository="r",bucket="b\\"c"} 400'))
      await new Promise(resolve => setImmediate(resolve))
    tell({ type: 'step', step: 'stream', state: 'done' })
  }, finish)
  const text = read()
  t.match(text, /^# HELP holdfast_backup_start_timestamp_seconds When the run began\.\n# TYPE /)
  t.match(text, /backup_exit_code\{.*\} 0\n/)
  t.match(text, `backup_end_timestamp_seconds{repository="r",bucket="b\\"c"} ${began + 5}\n`)
  t.match(text, /backup_step\{step="stream",.*\} 2\n/)
  t.match(text, /backup_resumed_vbuckets\{action="rebase",.*\} 2\n/)
  t.match(text, /backup_changes\{.*\} 600\n/)
  t.same(readdirSync(join(path, '..')), ['holdfast.prom'])
})

t.test('a file of metrics that cannot be written ends it before it begins', async t => {
  const { report, path } = scene(t, { metricsFile: 'no/such/folder' })
  let begun = false
  const running = report.during(async () => {
    begun = true
  }, finish)
  await t.rejects(running, { exitCode: 12, message: /^metrics file: ENOENT/ })
  t.notOk(begun)
  t.notOk(existsSync(path))
})
