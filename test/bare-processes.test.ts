import { execFileSync } from 'node:child_process'
import t from 'tap'

const isCovered = process.env['_TAPJS_PROCESSINFO_COVERAGE_'] === '1'

t.test(
  'a program under test is started as a user starts it, without what the test runner loads',
  { skip: isCovered && 'coverage needs to be in every process' },
  t => {
    const words = ['-p', 'JSON.stringify([process.execArgv, process.env.NODE_OPTIONS ?? ""])']
    const environments = [process.env, { PATH: process.env['PATH'] }]
    const started = environments.map(env =>
      JSON.parse(execFileSync(process.execPath, words, { env, encoding: 'utf8' })),
    )
    t.same(started, [
      [words, ''],
      [words, ''],
    ])
    t.end()
  },
)
