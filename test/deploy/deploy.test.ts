import { execFile } from 'node:child_process'
import { existsSync, readFileSync, readdirSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { parse as parseYaml } from 'yaml'
import { options } from '../../src/config/options.ts'
import { KvClient } from '../../src/client/kv-client.ts'
import { buildImage, parseDockerfile } from '../support/dockerfile.ts'
import { startDaemon } from '../support/start-daemon.ts'

const run = promisify(execFile)
const root = resolve(import.meta.dirname, '../../..')
const read = (path: string): string => readFileSync(join(root, path), 'utf8')
const instructions = parseDockerfile(read('Dockerfile'))

// It installs all dependencies twice.
t.setTimeout(10 * 60_000)

/** What a build sees of this process: npm would pass on its own settings and tap its own hooks. */
const plainEnvironment = {
  ...Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(npm_|TAP|NODE_|HOLDFAST_)/.test(name)),
  ),
  // The packages are those of this checkout: what npm has in its cache need not be fetched again.
  npm_config_prefer_offline: 'true',
  npm_config_audit: 'false',
  npm_config_fund: 'false',
  npm_config_update_notifier: 'false',
}

t.test("the Dockerfile's steps make a daemon that serves and stops cleanly", async t => {
  const image = buildImage(instructions, {
    context: root,
    target: t.testdir(),
    environment: plainEnvironment,
  })
  t.notOk(existsSync(join(image.folder, 'node_modules/typescript')), 'production only')
  t.same(readdirSync(image.folder).sort(), [
    'LICENSE',
    'data',
    'dist',
    'node_modules',
    'package.json',
  ])
  t.same(image.volumes, ['/holdfast/data'])
  t.notMatch(image.user, /^(|0|root)$/)

  t.equal(image.entrypoint[0], 'node')
  const daemon = await startDaemon(t, {
    program: join(image.folder, image.entrypoint[1]!),
    cwd: image.folder,
    data: join(image.folder, 'data'),
    environment: image.environment,
  })

  const [node, ...health] = image.health
  t.equal(node, 'node')
  const check = (httpPort: number) =>
    run(process.execPath, health, { env: { HOLDFAST_HTTP_PORT: String(httpPort) } })
  await t.resolves(check(daemon.httpPort), 'the health check passes')
  await t.rejects(check(1), 'and fails where nobody listens')

  const client = await KvClient.connect({ host: daemon.host, port: daemon.port })
  t.teardown(() => client.close())
  await client.set('greeting', 'hello')
  t.equal((await client.get('greeting'))?.value.toString(), 'hello')
  t.equal(image.stopSignal, 'SIGTERM')
  t.equal(await daemon.stop(), 0)
})

t.test('nothing that the Dockerfile copies is ignored, and nothing else is sent', t => {
  const sources = instructions
    .filter(({ name, text }) => name === 'COPY' && !text.startsWith('--from'))
    .flatMap(({ text }) => text.split(/ +/).slice(0, -1))
  const kept = read('.dockerignore')
    .split('\n')
    .filter(line => line !== '' && !line.startsWith('#'))
  t.same(kept[0], '*')
  t.same(new Set(kept.slice(1)), new Set(sources.map(source => `!${source}`)))
  t.end()
})

t.test('the compose file runs this image beside a Prometheus that scrapes its HTTP port', t => {
  interface Service {
    build?: string
    network_mode: string
    volumes: string[]
    stop_grace_period?: string
  }
  const { services } = parseYaml(read('compose.yaml')) as { services: Record<string, Service> }
  t.same(Object.keys(services), ['holdfast', 'prometheus'])
  const { holdfast, prometheus } = services
  t.equal(holdfast!.build, '.')
  t.same(holdfast!.volumes, ['data:/holdfast/data'])
  t.ok(Number.parseInt(holdfast!.stop_grace_period!, 10) > options.stopDeadlineSeconds.default)
  t.equal(prometheus!.network_mode, holdfast!.network_mode, 'they share one loopback')
  t.ok(prometheus!.volumes.some(volume => volume.startsWith('./deploy/prometheus.yml:')))

  const { scrape_configs: jobs } = parseYaml(read('deploy/prometheus.yml')) as {
    scrape_configs: { static_configs: { targets: string[] }[] }[]
  }
  const { host, httpPort } = options
  t.same(jobs[0]!.static_configs[0]!.targets, [`${host.default}:${httpPort.default}`])
  t.end()
})
