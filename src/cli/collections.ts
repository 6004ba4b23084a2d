/** `holdfast scope …` and `holdfast collection …`: what a bucket is divided into. */
import type { Command } from 'commander'
import type { CollectionManager } from '../client/index.ts'
import { wholeNumber, type Target } from './command-options.ts'
import { withManagement } from './management.ts'
import type { Surroundings } from './surroundings.ts'

interface ListOptions extends Target {
  json?: boolean
}

interface CreateOptions extends Target {
  maxTtl?: number
}

const maxTtlMax = 2 ** 31 - 1

export function addCollectionCommands(program: Command, world: Surroundings): void {
  addScopeCommand(program, world)
  const collection = program
    .command('collection')
    .description('the collections of the bucket, each named SCOPE.COLLECTION: list, create, drop')
  collection
    .command('list')
    .description('print their names')
    .option('--json', 'the manifest, as one JSON object')
    .action(async (_options, command: Command) => {
      const { uid, scopes } = await withManager(command, world, manager => manager.manifest())
      if (command.optsWithGlobals<ListOptions>().json) {
        world.stdout.write(`${JSON.stringify({ uid: uid.toString(16), scopes })}\n`)
        return
      }
      for (const scope of scopes)
        for (const { name } of scope.collections) world.stdout.write(`${scope.name}.${name}\n`)
    })
  collection
    .command('create <name>')
    .description('make one in a scope that is there')
    .option('--max-ttl <seconds>', 'the greatest expiry that documents may be given', text =>
      wholeNumber(text, 0, maxTtlMax),
    )
    .action(async (name: string, { maxTtl }: CreateOptions, command: Command) => {
      const wishes = maxTtl === undefined ? {} : { maxTtlSeconds: maxTtl }
      await withManager(command, world, manager => manager.createCollection(name, wishes))
    })
  collection
    .command('drop <name>')
    .description('remove it with all that is in it')
    .action(async (name: string, _options, command: Command) => {
      await withManager(command, world, manager => manager.dropCollection(name))
    })
}

function addScopeCommand(program: Command, world: Surroundings): void {
  const scope = program.command('scope').description('the scopes of the bucket: list, create, drop')
  scope
    .command('list')
    .description('print their names')
    .action(async (_options, command: Command) => {
      const { scopes } = await withManager(command, world, manager => manager.manifest())
      for (const { name } of scopes) world.stdout.write(`${name}\n`)
    })
  scope
    .command('create <name>')
    .description('make one, without collections')
    .action(async (name: string, _options, command: Command) => {
      await withManager(command, world, manager => manager.createScope(name))
    })
  scope
    .command('drop <name>')
    .description('remove it with its collections and all that is in them')
    .action(async (name: string, _options, command: Command) => {
      await withManager(command, world, manager => manager.dropScope(name))
    })
}

function withManager<Result>(
  command: Command,
  world: Surroundings,
  work: (manager: CollectionManager) => Promise<Result>,
): Promise<Result> {
  const { bucket } = command.optsWithGlobals<Target>()
  return withManagement(command, world, bucket, async client => {
    const { CollectionManager } = await import('../client/collection-manager.ts')
    return await work(new CollectionManager(client))
  })
}
