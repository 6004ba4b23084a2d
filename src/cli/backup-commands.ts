import { Option, type Command } from 'commander'
import { compressionNames } from '../backup/index.ts'
import {
  addArchiveOptions,
  addPlaceOptions,
  defaultStaging,
  type ArchiveOptions,
} from './archive-options.ts'
import {
  backUpBucket,
  printInfo,
  unlockRepository,
  type BackupCommandOptions,
  type InfoOptions,
} from './backup.ts'
import { wholeNumber } from './command-options.ts'
import {
  restoreBucket,
  verifyBackups,
  type RestoreCommandOptions,
  type VerifyCommandOptions,
} from './restore.ts'
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
  addArchiveOptions(program.command('verify'))
    .description('look whether backups are what they were when they were made')
    .option('--backup <id>', 'only this one')
    .option('--quick', 'look at manifests and sizes alone')
    .option('--sample <percent>', 'read so many of the objects', text => wholeNumber(text, 0, 100))
    .addOption(threadsOption(2))
    .option('--json', 'what is found, as lines of JSON')
    .action((_options, command: Command) =>
      verifyBackups(command.optsWithGlobals<VerifyCommandOptions>(), world),
    )
  addPlaceOptions(program.command('info'))
    .description('list what is in an archive')
    .option('--repo <name>', 'only this repository')
    .option('--json', 'as one JSON object')
    .action((_options, command: Command) =>
      printInfo(command.optsWithGlobals<InfoOptions>(), world),
    )
  addArchiveOptions(program.command('unlock'))
    .description('remove the lock of a repository, when nobody is at work there')
    .action((_options, command: Command) =>
      unlockRepository(command.optsWithGlobals<ArchiveOptions>(), world),
    )
}

function threadsOption(threads: number): Option {
  return new Option('--threads <number>', 'vbuckets at a time')
    .default(threads)
    .argParser(text => wholeNumber(text, 1, 64))
}

function lockTimeoutOption(): Option {
  return new Option('--lock-timeout <seconds>', 'how long to wait for another who is at work')
    .default(0)
    .argParser(text => wholeNumber(text, 0, 86_400))
}
