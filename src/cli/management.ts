import type { Command } from 'commander'
import type { ManagementClient } from '../client/management-client.ts'
import { accessOf, type Target } from './command-options.ts'
import type { Surroundings } from './surroundings.ts'

/** Runs `work` in a bucket or, with `false`, in none. */
export async function withManagement<Result>(
  command: Command,
  { env }: Surroundings,
  bucket: string | false,
  work: (client: ManagementClient) => Promise<Result>,
): Promise<Result> {
  const target = command.optsWithGlobals<Target>()
  const agent = 'holdfast command line'
  const { ManagementClient } = await import('../client/management-client.ts')
  const client = await ManagementClient.connect({ ...accessOf(target, env), bucket, agent })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}
