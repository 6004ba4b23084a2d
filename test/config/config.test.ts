import { writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import t, { type Test } from 'tap'
import { ConfigError } from '../../src/config/config-error.ts'
import { describeConfiguration, loadConfiguration } from '../../src/config/load.ts'
import { environmentName, optionRows } from '../../src/config/options.ts'
import { givenByDefault } from '../../src/config/sources.ts'

const nothing = (): void => {}
const load = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
  loadConfiguration(args, environment, nothing)!
const settingsOf = (args: string[], environment: NodeJS.ProcessEnv = {}) =>
  load(args, environment).settings

/** Expects a refusal in one line that says `words`. */
function refused(t: Test, words: RegExp, args: string[], environment: NodeJS.ProcessEnv = {}) {
  try {
    load(args, environment)
    t.fail(`${args.join(' ')} must be refused`)
  } catch (error) {
    t.type(error, ConfigError)
    t.match((error as Error).message, words)
    t.notMatch((error as Error).message, /\n/)
  }
}

/** Writes a configuration file and returns the flags that name it. */
function file(t: Test, name: string, text: string): string[] {
  const path = join(t.testdir(), name)
  writeFileSync(path, text)
  return ['--config', path]
}

t.test('defaults serve, and every one of them passes its own check', t => {
  const { settings } = load([])
  t.equal(settings.data, resolve('data'))
  t.match(settings, {
    host: '127.0.0.1',
    port: 11_210,
    httpPort: 8_091,
    vbuckets: 1024,
    ack: 'memory',
    keyBytesMax: 250,
    valueBytesMax: 20 * 2 ** 20,
    frameBytesMax: 21 * 2 ** 20,
    bucketsMax: 32,
    connectionsMax: 10_000,
    outputBytesMax: 8 * 2 ** 20,
    dcpBufferBytes: 2 ** 20,
    backfillSlabBytes: 512 * 2 ** 10,
    parkedMax: 4_096,
    parkedPerClientMax: 1_024,
    backfillGraceSeconds: 60,
    backfillGraceMaxSeconds: 3_600,
    backfillReceivedGraceSeconds: 10,
    pinnedBytesMax: 4 * 2 ** 30,
    connectionNameBytesMax: 200,
    purgeAgeSeconds: 3 * 86_400,
    purgeHoldMaxSeconds: 86_400,
  })
  t.end()
})

t.test('what may wait for a commit is a share of a small machine and no more of a large one', t => {
  const bytesOf = (flag: string, memoryBytes: number) =>
    givenByDefault(memoryBytes).find(option => option.flag === flag)!.value
  t.equal(bytesOf('unflushed-soft', 2 ** 31), 2 ** 26)
  t.equal(bytesOf('unflushed-soft', 2 ** 40), 2 ** 28)
  t.equal(bytesOf('unflushed-hard', 2 ** 31), 2 ** 27)
  t.equal(bytesOf('unflushed-hard', 2 ** 40), 2 ** 29)
  t.end()
})

t.test('the document cache takes a share of a small machine and no more of a large one', t => {
  const cacheBytes = (memoryBytes: number) =>
    givenByDefault(memoryBytes).find(({ flag }) => flag === 'document-cache')!.value
  t.equal(cacheBytes(2 ** 30), 2 ** 27)
  t.equal(cacheBytes(2 ** 32), 2 ** 29)
  t.equal(cacheBytes(2 ** 40), 2 ** 29)
  t.end()
})

t.test('flags win over the environment, that over the file, that over defaults', t => {
  const config = file(t, 'holdfast.yaml', 'port: 1\nhttp-port: 2\nvbuckets: 4\n')
  const environment = { HOLDFAST_PORT: '3', HOLDFAST_HTTP_PORT: '4', PATH: '/bin' }
  const { settings, origins } = load([...config, '--port', '5'], environment)
  t.match(settings, { port: 5, httpPort: 4, vbuckets: 4, environments: 4 })
  t.equal(origins.get('port'), '--port')
  t.equal(origins.get('http-port'), 'HOLDFAST_HTTP_PORT')
  t.equal(origins.get('vbuckets'), `vbuckets in ${config[1]!}`)
  t.equal(origins.get('environments'), 'default')
  t.end()
})

t.test('the environment may name the file; files may be JSON, YAML or empty', t => {
  const [, json] = file(t, 'a.json', '{"purge-age": "24h", "log-keys": true, "port": 0}')
  t.match(settingsOf([], { HOLDFAST_CONFIG: json }), {
    purgeAgeSeconds: 86_400,
    logKeys: true,
    port: 0,
  })
  t.match(settingsOf(file(t, 'b.yml', '# nothing yet\n')), { port: 11_210 })
  t.end()
})

t.test('sizes and durations take units; without one they are bytes and seconds', t => {
  const sizes = { '64MiB': 2 ** 26, '1GiB': 2 ** 30, '1.5gib': 1.5 * 2 ** 30, 33554432: 2 ** 25 }
  for (const [text, bytes] of Object.entries(sizes)) {
    t.equal(settingsOf(['--map-size', text]).mapSizeBytes, bytes, text)
  }
  const spans = { '60s': 60, '24h': 86_400, '3d': 259_200, '1.5m': 90, '500ms': 0.5, 7: 7, 0: 0 }
  for (const [text, seconds] of Object.entries(spans)) {
    t.equal(settingsOf(['--purge-age', text]).purgeAgeSeconds, seconds, text)
  }
  for (const text of [
    '64MB',
    '1 Gi',
    '-1',
    '1.5B',
    'many',
    '',
    '1e9',
    'MiB',
    'Infinity',
    '2000d d',
  ]) {
    refused(t, /--map-size: ".*" expected a size such as/, [`--map-size=${text}`])
  }
  t.end()
})

t.test('values out of range are refused with the bound', t => {
  refused(t, /--port: "65536" must be at most 65535/, ['--port', '65536'])
  refused(t, /--key-max: "251" must be at most 250B/, ['--key-max', '251'])
  refused(t, /--vbuckets: "2048" must be at most 1024/, ['--vbuckets', '2048'])
  refused(t, /--vbuckets: "1000" expected a power of two/, ['--vbuckets', '1000'])
  refused(t, /--vbuckets: "0" expected a power of two/, ['--vbuckets', '0'])
  refused(t, /--ack: "maybe" expected one of memory, disk/, ['--ack', 'maybe'])
  refused(t, /HOLDFAST_LOG_KEYS: "perhaps" expected true or false/, [], {
    HOLDFAST_LOG_KEYS: 'perhaps',
  })
  refused(t, /port in .*c.yaml: \[1\] expected a port/, file(t, 'c.yaml', 'port: [1]'))
  t.end()
})

t.test('settings that contradict each other are refused', t => {
  refused(t, /--unflushed-soft: "1GiB" must not be above unflushed-hard/, ['--unflushed-soft=1GiB'])
  refused(t, /--frame-max: "1MiB" must leave room for value-max/, ['--frame-max=1MiB'])
  refused(t, /--backfill-grace: "2h" must not be above backfill-gr/, ['--backfill-grace=2h'])
  refused(t, /parked-per-client-max: 1024 must not be above parked-max/, ['--parked-max=10'])
  refused(t, /http-port: .* must differ from port/, ['--port=8091'])
  t.match(settingsOf(['--port=0', '--http-port=0']), { port: 0, httpPort: 0 })
  t.end()
})

t.test('only loopback addresses are served to people who need not log in', t => {
  for (const host of ['127.0.0.1', '127.8.9.10', '::1', 'localhost']) {
    t.match(settingsOf(['--no-auth', '--host', host]), { host, noAuth: true })
  }
  for (const host of ['0.0.0.0', '::', '10.0.0.1', '127.0.0.1.example.org', 'db.example.org']) {
    refused(t, /--no-auth: .* needs a host of this machine alone/, ['--no-auth', '--host', host])
    t.match(settingsOf(['--host', host]), { host, noAuth: false })
  }
  t.end()
})

t.test('TLS needs a certificate and a port of its own, and can be all there is', t => {
  const tls = ['--tls-port=11207', '--tls-certificate=/c.pem', '--tls-key=/k.pem']
  t.match(settingsOf([...tls, '--port=off']), { port: 'off', tlsPort: 11_207, tlsKey: '/k.pem' })
  t.match(settingsOf([]), { port: 11_210, tlsPort: 'off', tlsClientCa: 'none' })
  refused(t, /--tls-port: .* needs tls-certificate and tls-key/, tls.slice(0, 2))
  refused(t, /--port: "off" cannot be off unless there is a tls-port/, ['--port=off'])
  refused(t, /--tls-port: .* must differ from port/, [...tls, '--port=11207'])
  refused(t, /--tls-port: .* must differ from port/, [...tls, '--http-port=11207'])
  const https = [...tls.slice(1), '--https-port=18091']
  t.match(settingsOf([...https, '--http-port=off']), { httpPort: 'off', httpsPort: 18_091 })
  refused(t, /--https-port: .* needs tls-certificate and tls-key/, ['--https-port=18091'])
  refused(t, /--http-port: "off" cannot be off unless there is an https-port/, ['--http-port=off'])
  refused(t, /--https-port: .* must differ from port and http-port/, [...https, '--port=18091'])
  refused(t, /--https-port: .* must differ from/, [...https, '--tls-port=18091'])
  refused(t, /--tls-client-ca: .* needs a tls-port/, ['--tls-client-ca=/ca.pem'])
  refused(t, /--tls-port: "on" expected a port or off/, ['--tls-port=on'])
  t.end()
})

t.test('mechanisms are given with commas or as a list, and those unknown are refused', t => {
  const all = ['SCRAM-SHA512', 'SCRAM-SHA256', 'SCRAM-SHA1', 'PLAIN']
  t.same(settingsOf([]).saslMechanisms, all)
  t.same(settingsOf(['--sasl-mechanisms=PLAIN, SCRAM-SHA512']).saslMechanisms, [all[0], 'PLAIN'])
  const listed = file(t, 'k.yaml', 'sasl-mechanisms: [SCRAM-SHA256]')
  t.same(settingsOf(listed).saslMechanisms, ['SCRAM-SHA256'])
  for (const wrong of ['', 'plain', 'SCRAM-SHA512,', 'CRAM-MD5']) {
    refused(t, /--sasl-mechanisms: .* expected some of/, [`--sasl-mechanisms=${wrong}`])
  }
  t.end()
})

t.test('an unknown name is refused with the nearest known one, wherever it is given', t => {
  refused(t, /unknown option '--prot' \(Did you mean --port\?\)/, ['--prot', '1'])
  refused(t, /unknown setting HOLDFAST_PURGE_AGES; did you mean purge-age\?/, [], {
    HOLDFAST_PURGE_AGES: '3d',
  })
  refused(t, /unknown setting backfilgrace in .*; did you mean backfill-grace\?/, [
    ...file(t, 'd.yaml', 'backfilgrace: 1s'),
  ])
  refused(t, /unknown setting HOLDFAST_COLOUR_OF_THE_LOGO$/, [], {
    HOLDFAST_COLOUR_OF_THE_LOGO: 'red',
  })
  for (const name of ['__proto__', 'constructor', 'toString']) {
    refused(t, /unknown setting/, file(t, 'e.json', `{"${name}": 1}`))
  }
  refused(t, /too many arguments/, ['start'])
  const ofTheClient = {
    HOLDFAST_BUCKET: 'b',
    HOLDFAST_USER: 'u',
    HOLDFAST_PASSWORD: 'p',
    HOLDFAST_ARCHIVE: 'a',
    HOLDFAST_PASSPHRASE: 's',
  }
  t.equal(settingsOf([], ofTheClient).port, 11_210, 'what the command line reads is no mistake')
  t.end()
})

t.test('a file that cannot be read says which and why, in one line', t => {
  refused(t, /cannot read .*missing.yaml: ENOENT/, ['--config', '/missing/missing.yaml'])
  refused(t, /name it .yaml, .yml or .json/, file(t, 'f.toml', 'port = 1'))
  refused(t, /cannot read .*g.json: /, file(t, 'g.json', '{'))
  refused(
    t,
    /cannot read .*h.yaml: duplicate key at line 2, column 1/,
    file(t, 'h.yaml', 'port: 1\nport: 2\n'),
  )
  refused(t, /must hold settings by name/, file(t, 'i.yaml', '- port\n'))
  t.end()
})

t.test('what --check-config prints is a file with the same settings', t => {
  const first = load([
    '--host',
    '::1',
    '--purge-age',
    '90m',
    '--data',
    '/a folder #1',
    '--log-keys',
  ])
  const again = load(file(t, 'j.yaml', describeConfiguration(first)))
  t.same(again.settings, first.settings)
  t.notOk(again.checkOnly)
  t.ok(load(['--check-config']).checkOnly)
  t.end()
})

t.test('--help lists every option with its default and how else it can be given', t => {
  let help = ''
  t.equal(
    loadConfiguration(['--help'], {}, text => {
      help += text
    }),
    undefined,
  )
  for (const [, { flag, kind, meaning, default: value }] of optionRows) {
    t.match(help, `--${flag} ${kind.placeholder}`)
    t.match(help, `${meaning} (default: ${kind.format(value)})`)
  }
  t.match(help, environmentName('purge-age'))
  t.end()
})

t.test('an address for clients may name ports', t => {
  const endpoint = (text: string) => settingsOf(['--advertise', text]).advertise
  t.same(settingsOf([]).advertise, { host: '$HOST', ports: {} })
  t.same(endpoint('db.example.com'), { host: 'db.example.com', ports: {} })
  t.same(endpoint('$HOST,kv=31210'), { host: '$HOST', ports: { kv: 31_210 } })
  t.same(endpoint('::1,mgmt=1,kv=2'), { host: '::1', ports: { mgmt: 1, kv: 2 } })
  for (const text of ['', 'a b', 'db,n1ql=8093', 'db,kv=0', 'db,kv=65536', 'db,kv=1,kv=2', 'db,']) {
    refused(t, /--advertise: ".*" expected an address such as/, ['--advertise', text])
  }
  t.end()
})

t.test('names follow one rule and no two settings share one', t => {
  const flags = optionRows.map(([, { flag }]) => flag)
  t.equal(new Set(flags).size, flags.length)
  for (const flag of flags) t.match(flag, /^[a-z]+(-[a-z]+)*$/)
  t.equal(environmentName('http-port'), 'HOLDFAST_HTTP_PORT')
  t.end()
})
