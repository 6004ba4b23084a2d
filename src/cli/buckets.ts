/** `holdfast bucket …`: the buckets of a daemon. */
import type { Command } from 'commander'
import { byteSize, wholeNumber, type Target } from './command-options.ts'
import { withManagement } from './management.ts'
import { sizeText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

interface CreateOptions extends Target {
  vbuckets?: number
  quota?: number
  flushEnabled?: boolean
}

export function addBucketCommands(program: Command, world: Surroundings): void {
  const bucket = program
    .command('bucket')
    .description('the buckets: list, show, create, delete, flush')
  bucket
    .command('list')
    .description('print their names')
    .action(async (_options, command: Command) => {
      const names = await withManagement(command, world, false, client => client.listBuckets())
      for (const name of names) world.stdout.write(`${name}\n`)
    })
  bucket
    .command('show <name>')
    .description('print what is in one, and how much its quota leaves')
    .action(async (name: string, _options, command: Command) => {
      const statistics = await withManagement(command, world, name, client => client.stats())
      world.stdout.write(descriptionIn(statistics))
    })
  bucket
    .command('create <name>')
    .description('make one')
    .option('--vbuckets <count>', 'a power of two up to 1,024', text => wholeNumber(text, 1, 1024))
    .option('--quota <size>', 'for the keys and values of its documents, such as 512MiB', byteSize)
    .option('--flush-enabled', 'it may be emptied with one request')
    .action(async (name: string, options: CreateOptions, command: Command) => {
      const configuration = configurationOf(options)
      await withManagement(command, world, false, client =>
        client.createBucket(name, configuration),
      )
    })
  bucket
    .command('delete <name>')
    .description('remove it with all that is in it')
    .action(async (name: string, _options, command: Command) => {
      await withManagement(command, world, false, client => client.deleteBucket(name))
    })
  bucket
    .command('flush <name>')
    .description('remove all documents, if that is enabled for it')
    .action(async (name: string, _options, command: Command) => {
      await withManagement(command, world, name, client => client.flush())
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

/** One line for each figure. */
function descriptionIn(statistics: ReadonlyMap<string, string>): string {
  const figure = (name: string) => Number(statistics.get(name) ?? 0)
  const bytes = figure('ep_document_bytes')
  const quota = figure('ep_max_size')
  const used = quota === 0 ? '' : `, ${Math.floor((100 * bytes) / quota)} % used`
  return [
    `documents   ${figure('curr_items')}`,
    `bytes       ${bytes} (${sizeText(bytes)}, keys and values)`,
    `quota       ${quota === 0 ? 'none' : `${quota} (${sizeText(quota)}${used})`}`,
    `refused     ${figure('ep_quota_refusals')} (writes, since the daemon has started)`,
    `tombstones  ${figure('ep_tombstones')}`,
    `vbuckets    ${figure('ep_vb_total')}`,
    '',
  ].join('\n')
}
