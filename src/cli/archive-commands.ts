import { Option, type Command } from 'commander'
import {
  addArchiveOptions,
  addPlaceOptions,
  addLimitOptions,
  addRepositoryOptions,
  type RepositoryPlace,
} from './archive-options.ts'
import { lockTimeoutOption, threadsOption } from './backup-commands.ts'
import { wholeNumber } from './command-options.ts'
import type { ExamineCommandOptions } from './examine.ts'
import { addJobOptions } from './job-options.ts'
import type { InfoOptions } from './info.ts'
import type { MergeCommandOptions } from './merge.ts'
import type { RemoveCommandOptions } from './remove.ts'
import type { StorageCheckOptions } from './storage-check.ts'
import type { Surroundings } from './surroundings.ts'
import type { VerifyCommandOptions } from './verify.ts'

/** What is done with backups that are there. */
export function addArchiveCommands(program: Command, world: Surroundings): void {
  addInfo(program, world)
  addExamine(program, world)
  addVerify(program, world)
  addRemove(program, world)
  addMerge(program, world)
  addStorage(program, world)
  addRepositoryOptions(program.command('unlock'))
    .description('remove the lock of a repository, when nobody is at work there')
    .action(async (_options, command: Command) =>
      (await import('./unlock.ts')).unlockRepository(
        command.optsWithGlobals<RepositoryPlace>(),
        world,
      ),
    )
}

function addInfo(program: Command, world: Surroundings): void {
  addPlaceOptions(program.command('info'))
    .description('list what is in an archive')
    .option('--repo <name>', 'only this repository')
    .option('--backup <id>', 'all about this one, by id or number')
    .option('--details', 'all about each backup')
    .option('--vbuckets', 'and about each of its vbuckets')
    .option('--json', 'as one JSON object')
    .action(async (_options, command: Command) =>
      (await import('./info.ts')).printInfo(command.optsWithGlobals<InfoOptions>(), world),
    )
}

function addExamine(program: Command, world: Surroundings): void {
  addLimitOptions(addArchiveOptions(program.command('examine <key>')))
    .description('print the versions of a document that backups have')
    .option('--backup <id>', 'only of this one, by id or number')
    .addOption(
      new Option('--collection <name>', 'its collection, as SCOPE.COLLECTION or by its id')
        .default('_default._default')
        .argParser(text => (/^\d+$/.test(text) ? wholeNumber(text, 0, 0xffffffff) : text)),
    )
    .option('--values', 'with their values, as lines of JSON')
    .option('--json', 'as lines of JSON')
    .action(async (key: string, _options, command: Command) =>
      (await import('./examine.ts')).examineKey(
        key,
        command.optsWithGlobals<ExamineCommandOptions>(),
        world,
      ),
    )
}

function addVerify(program: Command, world: Surroundings): void {
  addJobOptions(addLimitOptions(addArchiveOptions(program.command('verify'))))
    .description('look whether backups are what they were when they were made')
    .option('--backup <id>', 'only this one, by id or number')
    .option('--quick', 'look at manifests and sizes alone')
    .option('--sample <percent>', 'read so many of the objects', text => wholeNumber(text, 0, 100))
    .addOption(threadsOption(2))
    .action(async (_options, command: Command) =>
      (await import('./verify.ts')).verifyBackups(
        command.optsWithGlobals<VerifyCommandOptions>(),
        world,
      ),
    )
}

function addRemove(program: Command, world: Surroundings): void {
  addJobOptions(addLimitOptions(addRepositoryOptions(program.command('remove'))))
    .description('remove backups')
    .option('--backup <id>', 'this one, by id or number')
    .option('--from <id>', 'all from this one on; by default from the oldest')
    .option('--to <id>', 'up to this one; by default to the newest')
    .option('--break-chain', 'also if others continue what is removed: they are lost, too')
    .option('--dry-run', 'say what would be removed, and leave it there')
    .addOption(lockTimeoutOption())
    .action(async (_options, command: Command) =>
      (await import('./remove.ts')).removeBackups(
        command.optsWithGlobals<RemoveCommandOptions>(),
        world,
      ),
    )
}

function addMerge(program: Command, world: Surroundings): void {
  addJobOptions(addLimitOptions(addArchiveOptions(program.command('merge'))))
    .description('make one backup of several that continue each other')
    .option(
      '--from <id>',
      'the oldest, by id or number; by default the full backup in front of --to',
    )
    .option('--to <id>', 'the newest, which takes up the others; by default the last one')
    .addOption(threadsOption(2))
    .addOption(lockTimeoutOption())
    .action(async (_options, command: Command) =>
      (await import('./merge.ts')).mergeBackups(
        command.optsWithGlobals<MergeCommandOptions>(),
        world,
      ),
    )
}

function addStorage(program: Command, world: Surroundings): void {
  const storage = program.command('storage').description('the store of an archive: check')
  addPlaceOptions(storage.command('check'))
    .description('try, within a minute, what backups need of a store')
    .addOption(
      new Option('--timeout <seconds>', 'for all of it')
        .default(60)
        .argParser(text => wholeNumber(text, 1, 3600)),
    )
    .option('--json', 'what is found, as lines of JSON')
    .action(async (_options, command: Command) =>
      (await import('./storage-check.ts')).checkStorage(
        command.optsWithGlobals<StorageCheckOptions>(),
        world,
      ),
    )
}
