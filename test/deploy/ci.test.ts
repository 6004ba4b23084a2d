import { execFile } from 'node:child_process'
import { chmodSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'

const script = resolve(import.meta.dirname, '../../../.ci/run')

/** Runs the script with an `npm` that notes how it is called and, as `npm test`, does `body`. */
function ci(t: Test, body: string): Promise<{ code: number; lines: string[] }> {
  const folder = t.testdir()
  const programs = {
    npm: `echo "npm $*"\n[ "$1" = test ] || exit 0\n${body}`,
    memccapable: '',
    memccp: '',
    python3: '',
    javac: '',
    mvn: '',
    go: '',
    radosgw: '',
    'ceph-mon': '',
    'ceph-osd': '',
    ceph: '',
  }
  for (const [name, text] of Object.entries(programs)) {
    writeFileSync(join(folder, name), `#!/bin/sh\n${text}\n`)
    chmodSync(join(folder, name), 0o755)
  }
  const env = { PATH: `${folder}:/usr/bin:/bin` }
  return new Promise(done => {
    execFile(script, { env }, (error, stdout) => {
      const lines = stdout.trimEnd().split('\n')
      done({ code: error === null ? 0 : Number(error.code), lines })
    })
  })
}

t.test('it runs what the README says, and ends with the count', async t => {
  const { code, lines } = await ci(t, 'echo "12 passed, 0 failed"')
  t.equal(code, 0)
  t.same(lines, ['npm ci', 'npm test', '12 passed, 0 failed'])
})

t.test('what npm says after a failure does not come last', async t => {
  const { code, lines } = await ci(t, 'echo "11 passed, 1 failed"; echo "npm error" >&2; exit 7')
  t.equal(code, 7)
  t.equal(lines.at(-1), '11 passed, 1 failed')
  t.ok(lines.includes('npm error'))
})

t.test('a build that fails before the tests counts as a failure', async t => {
  const { code, lines } = await ci(t, 'echo "error TS2322"; exit 2')
  t.equal(code, 2)
  t.equal(lines.at(-1), '0 passed, 1 failed')
})
