import { InvalidArgumentError, Option, type Command } from 'commander'
import { readFileSync } from 'node:fs'
import type { Credentials, TlsOptions } from '../client/index.ts'
import { CommandError, ExitCode } from './exit-code.ts'

/** What every command needs to reach a bucket. */
export interface Target {
  host: string
  port: number
  bucket: string
  user?: string
  tls?: boolean
  tlsCa?: string
  tlsCertificate?: string
  tlsKey?: string
}

export function addTargetOptions(program: Command): void {
  program
    .addOption(
      new Option('-H, --host <host>', 'where the daemon is')
        .env('HOLDFAST_HOST')
        .default('127.0.0.1'),
    )
    .addOption(
      new Option('-p, --port <port>', 'its port')
        .env('HOLDFAST_PORT')
        .default(11210)
        .argParser(text => wholeNumber(text, 1, 65535)),
    )
    .addOption(
      new Option('-b, --bucket <name>', 'the bucket').env('HOLDFAST_BUCKET').default('default'),
    )
    .addOption(
      new Option('-u, --user <name>', 'the user; the password comes from HOLDFAST_PASSWORD').env(
        'HOLDFAST_USER',
      ),
    )
    .option('--tls', 'encrypt, and check the server by the authorities that Node.js knows')
    .option('--tls-ca <file>', 'encrypt, and check the server by this authority (PEM)')
    .option('--tls-certificate <file>', 'log in by this certificate (PEM)')
    .option('--tls-key <file>', 'the key of the certificate (PEM)')
}

/** What leads to the daemon and into a bucket. */
export function accessOf(
  target: Target,
  env: NodeJS.ProcessEnv,
): { host: string; port: number; tls: boolean | TlsOptions; credentials?: Credentials } {
  const { host, port } = target
  return { host, port, tls: tlsOf(target), ...credentialsOf(target, env) }
}

function tlsOf({ tls, tlsCa, tlsCertificate, tlsKey }: Target): boolean | TlsOptions {
  if (tlsCa === undefined && tlsCertificate === undefined && tlsKey === undefined) {
    return tls ?? false
  }
  return {
    ...(tlsCa === undefined ? {} : { ca: readPem(tlsCa) }),
    ...(tlsCertificate === undefined ? {} : { cert: readPem(tlsCertificate) }),
    ...(tlsKey === undefined ? {} : { key: readPem(tlsKey) }),
  }
}

function readPem(path: string): Buffer {
  try {
    return readFileSync(path)
  } catch (cause) {
    throw new CommandError(ExitCode.usage, (cause as Error).message, { cause })
  }
}

/** The password is taken from the environment alone: others can see a command line. */
function credentialsOf(target: Target, env: NodeJS.ProcessEnv): { credentials?: Credentials } {
  if (target.user === undefined) return {}
  return { credentials: { username: target.user, password: env['HOLDFAST_PASSWORD'] ?? '' } }
}

export function wholeNumber(text: string, least: number, most: number): number {
  const value = Number(text)
  if (!/^\d+$/.test(text) || value < least || value > most)
    throw new InvalidArgumentError(`Not a whole number from ${least} to ${most}.`)
  return value
}

export function uint64(text: string): bigint {
  if (!/^\d{1,20}$/.test(text) || BigInt(text) >= 2n ** 64n)
    throw new InvalidArgumentError('Not a whole number of 64 bits.')
  return BigInt(text)
}

/** Of an option that may be given again: all that it was given. */
export function gathered(text: string, before: readonly string[] = []): string[] {
  return [...before, text]
}

const byteUnits = new Map([
  ['', 1],
  ['KiB', 2 ** 10],
  ['MiB', 2 ** 20],
  ['GiB', 2 ** 30],
  ['TiB', 2 ** 40],
])

/** `512MiB`, or a number of bytes. */
export function byteSize(text: string): number {
  const match = /^(\d{1,12})([KMGT]iB)?$/.exec(text)
  if (match === null) throw new InvalidArgumentError('Not a size such as 512MiB.')
  return Number(match[1]) * byteUnits.get(match[2] ?? '')!
}

/** `0-3,7` is 0, 1, 2, 3 and 7. */
export function vbucketList(text: string): number[] {
  const vbuckets = new Set<number>()
  for (const part of text.split(',')) {
    const [first, last] = part.split('-', 2)
    const start = wholeNumber(first ?? '', 0, 0xffff)
    const end = last === undefined ? start : wholeNumber(last, start, 0xffff)
    for (let vbid = start; vbid <= end; vbid++) vbuckets.add(vbid)
  }
  return [...vbuckets].sort((one, other) => one - other)
}
