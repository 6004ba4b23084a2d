import { Option, type Command } from 'commander'
import { compressionNames } from '../backup/archive/compression-name.ts'
import { addArchiveOptions, addLimitOptions, stagingOption } from './archive-options.ts'
import type { BackupCommandOptions } from './backup.ts'
import { byteSize, gathered, wholeNumber } from './command-options.ts'
import { addJobOptions } from './job-options.ts'
import type { RestoreCommandOptions } from './restore.ts'
import type { Surroundings } from './surroundings.ts'

export function addBackupCommands(program: Command, world: Surroundings): void {
  addJobOptions(addLimitOptions(addArchiveOptions(program.command('backup'))))
    .description('back up a bucket: all of it at first, then what has changed since')
    .configureHelp(withBucketOptions)
    .option('--resume', 'go on with a backup that was interrupted')
    .option('--purge', 'drop a backup that was interrupted, and begin a new one')
    .option('--full', 'all of the bucket, not only what has changed')
    .addOption(
      new Option('--compression <kind>', 'of a new repository; snappy by default').choices(
        compressionNames,
      ),
    )
    .addOption(stagingOption(world.env))
    .addOption(threadsOption(4))
    .option(
      '--pack-below <size>',
      'vbuckets with less share an object; 0: none does; 5MiB by default',
      byteSize,
    )
    .addOption(lockTimeoutOption())
    .action(async (_options, command: Command) =>
      (await import('./backup.ts')).backUpBucket(
        command.optsWithGlobals<BackupCommandOptions>(),
        world,
      ),
    )
  addJobOptions(addLimitOptions(addArchiveOptions(program.command('restore'))))
    .description('bring the documents of a backup into a bucket')
    .configureHelp(withBucketOptions)
    .option('--to <backup>', 'as of this backup; the last complete one by default')
    .option('--from <backup>', 'only what came with this backup and behind it')
    .option('--key-prefix <text>', 'only keys that begin so; may be given again', gathered)
    .option('--key-pattern <expression>', 'only keys in which this is found (syntax of RE2)')
    .option('--scope <name>', 'only this scope; may be given again', gathered)
    .option('--collection <path>', 'only this SCOPE.COLLECTION; may be given again', gathered)
    .option('--map-collection <from=to>', 'into another collection; may be given again', gathered)
    .option('--force', 'overwrite newer versions that the bucket has')
    .option('--resume', 'go on with the same restore, if it was interrupted')
    .addOption(stagingOption(world.env))
    .addOption(threadsOption(4))
    .option('--change-limit <number>', 'changes a second to the bucket', text =>
      wholeNumber(text, 1, 1_000_000_000),
    )
    .action(async (_options, command: Command) =>
      (await import('./restore.ts')).restoreBucket(
        command.optsWithGlobals<RestoreCommandOptions>(),
        world,
      ),
    )
}

/** Which bucket, and where it is, are options of the whole program. */
const withBucketOptions = { showGlobalOptions: true }

export function threadsOption(threads: number): Option {
  return new Option('--threads <number>', 'vbuckets at a time')
    .default(threads)
    .argParser(text => wholeNumber(text, 1, 64))
}

export function lockTimeoutOption(): Option {
  return new Option('--lock-timeout <seconds>', 'how long to wait for another who is at work')
    .default(0)
    .argParser(text => wholeNumber(text, 0, 86_400))
}
