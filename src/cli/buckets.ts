/** `holdfast bucket …`: the buckets of a daemon. */
import type { Command } from 'commander'
import { ManagementClient } from '../client/management-client.ts'
import { accessOf, byteSize, wholeNumber, type Target } from './command-options.ts'
import type { Surroundings } from './surroundings.ts'

interface CreateOptions extends Target {
  vbuckets?: number
  quota?: number
  flushEnabled?: boolean
}

export function addBucketCommands(program: Command, world: Surroundings): void {
  const bucket = program.command('bucket').description('the buckets: list, create, delete, flush')
  bucket
    .command('list')
    .description('print their names')
    .action(async (_options, command: Command) => {
      const names = await withClient(command, world, false, client => client.listBuckets())
      for (const name of names) world.stdout.write(`${name}\n`)
    })
  bucket
    .command('create <name>')
    .description('make one')
    .option('--vbuckets <count>', 'a power of two up to 1,024', text => wholeNumber(text, 1, 1024))
    .option('--quota <size>', 'for the keys and values of its documents, such as 512MiB', byteSize)
    .option('--flush-enabled', 'it may be emptied with one request')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const configuration = configurationOf(options)
      await withClient(command, world, false, client => client.createBucket(name, configuration))
    })
  bucket
    .command('delete <name>')
    .description('remove it with all that is in it')
    .action(async (name: string, _options, command: Command) => {
      await withClient(command, world, false, client => client.deleteBucket(name))
    })
  bucket
    .command('flush <name>')
    .description('remove all documents, if that is enabled for it')
    .action(async (name: string, _options, command: Command) => {
      await withClient(command, world, name, client => client.flush())
    })
}

/** As CREATE_BUCKET takes it; what is left out is the daemon's to choose. */
function configurationOf({ vbuckets, quota, flushEnabled }: CreateOptions): string {
  const settings = { max_vbuckets: vbuckets, max_size: quota, flush_enabled: flushEnabled }
  return Object.entries(settings)
    .filter(([, value]) => value !== undefined)
    .map(([name, value]) => `${name}=${value}`)
    .join(';')
}

/** Runs `work` in a bucket or, with `false`, in none. */
async function withClient<Result>(
  command: Command,
  { env }: Surroundings,
  bucket: string | false,
  work: (client: ManagementClient) => Promise<Result>,
): Promise<Result> {
  const target = command.optsWithGlobals<Target>()
  const agent = 'holdfast command line'
  const client = await ManagementClient.connect({ ...accessOf(target, env), bucket, agent })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
