import { Command, CommanderError, Option } from 'commander'
import { version } from '../version.ts'
import {
  addTargetOptions,
  gathered,
  uint64,
  vbucketList,
  wholeNumber,
  type Target,
} from './command-options.ts'
import type { DocumentTarget, SetOptions } from './documents.ts'
import { addArchiveCommands } from './archive-commands.ts'
import { addBackupCommands } from './backup-commands.ts'
import { addBucketCommands } from './buckets.ts'
import { addCollectionCommands } from './collections.ts'
import { describeFailure, ExitCode } from './exit-code.ts'
import type { StreamOptions } from './stream.ts'
import type { Surroundings } from './surroundings.ts'
import { addUserCommands } from './users.ts'

const durabilityLevels = ['majority', 'majorityAndPersistOnMaster', 'persistToMajority']

/** Runs one command line; resolves with the exit code, never rejects. */
export async function run(words: readonly string[], world: Surroundings): Promise<ExitCode> {
  const program = buildProgram(world)
  try {
    await program.parseAsync([...words], { from: 'user' })
    return ExitCode.success
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : ExitCode.usage
    const { exitCode, line } = describeFailure(error)
    world.stderr.write(line)
    return exitCode
  }
}

function buildProgram(world: Surroundings): Command {
  const program = new Command('holdfast')
    .description('Talks to a holdfastd: documents, statistics, change streams, backups.')
    .version(version)
    .exitOverride()
    .configureOutput({
      writeOut: text => world.stdout.write(text),
      writeErr: text => world.stderr.write(oneLine(text)),
    })
    .showSuggestionAfterError()
  addTargetOptions(program)
  addDocumentCommands(program, world)
  addStreamCommand(program, world)
  addBucketCommands(program, world)
  addCollectionCommands(program, world)
  addUserCommands(program, world)
  addBackupCommands(program, world)
  addArchiveCommands(program, world)
  return program
}

function addDocumentCommands(program: Command, world: Surroundings): void {
  program
    .command('get <key>')
    .description('write the value of a document to standard output')
    .addOption(collectionOption())
    .action(async (key: string, _options, command: Command) =>
      (await import('./documents.ts')).getDocument(
        key,
        command.optsWithGlobals<DocumentTarget>(),
        world,
      ),
    )
  program
    .command('set <key> [value]')
    .description('store a document; the value comes from standard input if not given')
    .addOption(collectionOption())
    .option('--flags <number>', 'the application’s own 32 bits', uint32)
    .option('--expiry <seconds>', 'from now, or since the epoch if beyond 30 days', uint32)
    .option('--cas <number>', 'only if the document still has this CAS', uint64)
    .addOption(
      new Option('--durability <level>', 'what has to hold before it counts').choices(
        durabilityLevels,
      ),
    )
    .action(async (key: string, value: string | undefined, _options, command: Command) =>
      (await import('./documents.ts')).setDocument(
        key,
        value,
        command.optsWithGlobals<SetOptions>(),
        world,
      ),
    )
  program
    .command('del <key>')
    .description('delete a document')
    .addOption(collectionOption())
    .option('--cas <number>', 'only if the document still has this CAS', uint64)
    .action(async (key: string, _options, command: Command) =>
      (await import('./documents.ts')).removeDocument(
        key,
        command.optsWithGlobals<DocumentTarget>(),
        world,
      ),
    )
  program
    .command('stats [group]')
    .description('print statistics, of one group if given')
    .option('--json', 'as one JSON object')
    .action(async (group: string | undefined, _options, command: Command) =>
      (await import('./documents.ts')).printStats(group, command.optsWithGlobals<Target>(), world),
    )
}

function addStreamCommand(program: Command, world: Surroundings): void {
  program
    .command('stream')
    .description('print every change as a line of JSON, then each new one as it happens')
    .option('--vbuckets <list>', 'only these, such as 0-3,7', vbucketList)
    .option('--from-now', 'leave out what is there already')
    .option('--until-now', 'end with what is there already')
    .option('--resume-file <path>', 'keep the position here, and go on from it next time')
    .option('--keys-only', 'leave out the values')
    .addOption(
      new Option('--collection <name...>', 'SCOPE.COLLECTION, one or several; the default one else')
        .argParser(gathered)
        .conflicts(['scope', 'allCollections']),
    )
    .addOption(
      new Option('--scope <name>', 'all collections of a scope').conflicts('allCollections'),
    )
    .option('--all-collections', 'all of the bucket')
    .option('--name <name>', 'of the connection, by which the server knows a client that returns')
    .action(async (_options, command: Command) =>
      (await import('./stream.ts')).streamChanges(command.optsWithGlobals<StreamOptions>(), world),
    )
}

function collectionOption(): Option {
  return new Option('--collection <name>', 'where it is, as SCOPE.COLLECTION')
}

function uint32(text: string): number {
  return wholeNumber(text, 0, 0xffffffff)
}

/** Commander says `error: …`, sometimes with a suggestion on a second line. */
function oneLine(text: string): string {
  const line = text.trim().replace(/\s*\n\s*/g, ' ')
  return `${line.replace(/^error:/, 'holdfast:')}\n`
}
