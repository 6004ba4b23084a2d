import { homedir } from 'node:os'
import { join } from 'node:path'
import { Option, type Command } from 'commander'
import type { StoreOptions } from '../backup/index.ts'
import { byteSize, wholeNumber } from './command-options.ts'

/** What every command needs to reach an archive. */
export interface ArchivePlace extends StoreOptions {
  archive: string
  /** Bytes and requests a second. */
  rateLimit?: number
  requestLimit?: number
}

/** And a repository in it. */
export interface RepositoryPlace extends ArchivePlace {
  repo: string
}

/** Whose data are looked at, too. */
export interface ArchiveOptions extends RepositoryPlace {
  keyFile?: string
}

export function addArchiveOptions(command: Command): Command {
  return addRepositoryOptions(command).option(
    '--key-file <path>',
    'of an encrypted repository; a passphrase comes from HOLDFAST_PASSPHRASE',
  )
}

export function addRepositoryOptions(command: Command): Command {
  const meaning = 'the repository: the backups of one bucket'
  return addPlaceOptions(command).requiredOption('--repo <name>', meaning)
}

export function addPlaceOptions(command: Command): Command {
  return command
    .addOption(
      new Option('--archive <url>', 'where backups are: a folder, or s3://bucket/prefix')
        .env('HOLDFAST_ARCHIVE')
        .makeOptionMandatory(),
    )
    .option('--s3-endpoint <url>', 'of an S3 that is not Amazon’s')
    .option('--s3-region <name>', 'its region')
    .option('--s3-path-style', 'name the bucket in the path, not in the host name')
}

/** Where programs keep what has to last, but is not the user's. */
function defaultStaging(env: NodeJS.ProcessEnv): string {
  const state = env['XDG_STATE_HOME'] || join(homedir(), '.local/state')
  return join(state, 'holdfast/backup')
}

/** How fast an archive is read and written. */
export function addLimitOptions(command: Command): Command {
  return command
    .option(
      '--rate-limit <size>',
      'bytes a second to and from the archive, such as 10MiB',
      byteSize,
    )
    .option('--request-limit <number>', 'requests a second to S3', text =>
      wholeNumber(text, 1, 1_000_000),
    )
}

export function stagingOption(env: NodeJS.ProcessEnv): Option {
  return new Option('--staging <folder>', 'where state is kept meanwhile')
    .env('HOLDFAST_STAGING')
    .default(defaultStaging(env))
}
