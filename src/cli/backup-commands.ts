import { Option, type Command } from 'commander'
import { compressionNames } from '../backup/index.ts'
import { addArchiveOptions, defaultStaging } from './archive-options.ts'
import { backUpBucket, type BackupCommandOptions } from './backup.ts'
import { wholeNumber } from './command-options.ts'
import { restoreBucket, type RestoreCommandOptions } from './restore.ts'
import type { Surroundings } from './surroundings.ts'

export function addBackupCommands(program: Command, world: Surroundings): void {
  addArchiveOptions(program.command('backup'))
    .description('back up a bucket: all of it at first, then what has changed since')
    .option('--resume', 'go on with a backup that was interrupted')
    .option('--purge', 'drop a backup that was interrupted, and begin a new one')
    .option('--full', 'all of the bucket, not only what has changed')
    .addOption(
      new Option('--compression <kind>', 'of a new repository; snappy by default').choices(
        compressionNames,
      ),
    )
    .addOption(
      new Option('--staging <folder>', 'where state is kept meanwhile')
        .env('HOLDFAST_STAGING')
        .default(defaultStaging(world.env)),
    )
    .addOption(threadsOption(4))
    .addOption(lockTimeoutOption())
    .option('--json', 'what happens, as lines of JSON')
    .action((_options, command: Command) =>
      backUpBucket(command.optsWithGlobals<BackupCommandOptions>(), world),
    )
  addArchiveOptions(program.command('restore'))
    .description('bring the documents of a backup into a bucket')
    .option('--backup <id>', 'as of this backup; the last complete one by default')
    .option('--force', 'overwrite newer versions that the bucket has')
    .addOption(threadsOption(4))
    .option('--json', 'what happens, as lines of JSON')
    .action((_options, command: Command) =>
      restoreBucket(command.optsWithGlobals<RestoreCommandOptions>(), world),
    )
}

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
