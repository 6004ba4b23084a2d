import type { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import type { RequestOptions, StoreOptions } from '../client/index.ts'
import { KvClient } from '../client/kv-client.ts'
import { accessOf, type Target } from './command-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import type { Surroundings } from './surroundings.ts'

/** Where a document is. */
export interface DocumentTarget extends Target {
  collection?: string
}

function placeOf({ collection }: DocumentTarget): RequestOptions {
  return collection === undefined ? {} : { collection }
}

/** Runs `work` with a client that is closed afterwards, whatever happens. */
async function withClient<T>(
  target: DocumentTarget,
  { env }: Surroundings,
  work: (client: KvClient) => Promise<T>,
): Promise<T> {
  const { bucket } = target
  const agent = 'holdfast command line'
  // Not asked for unless needed: other servers may have none.
  const collections = target.collection !== undefined
  const client = await KvClient.connect({ bucket, agent, collections, ...accessOf(target, env) })
  try {
    return await work(client)
  } finally {
    await client.close()
  }
}

/** Writes the value as it is; on a terminal with a line end behind it. */
export async function getDocument(
  key: string,
  target: DocumentTarget,
  world: Surroundings,
): Promise<void> {
  const document = await withClient(target, world, client => client.get(key, placeOf(target)))
  if (!document) throw new CommandError(ExitCode.refused, `no such key: ${key}`)
  world.stdout.write(document.value)
  if (world.stdout.isTTY) world.stdout.write('\n')
}

export interface SetOptions extends DocumentTarget {
  flags?: number
  expiry?: number
  cas?: bigint
  durability?: NonNullable<StoreOptions['durability']>
}

/** Without a value it is read from standard input. */
export async function setDocument(
  key: string,
  value: string | undefined,
  options: SetOptions,
  world: Surroundings,
): Promise<void> {
  const bytes = value ?? (await readAll(world.stdin))
  const { flags, expiry, cas, durability } = options
  await withClient(options, world, client =>
    client.set(key, bytes, {
      ...placeOf(options),
      ...(flags === undefined ? {} : { flags }),
      ...(expiry === undefined ? {} : { expiry }),
      ...(cas === undefined ? {} : { cas }),
      ...(durability === undefined ? {} : { durability }),
    }),
  )
}

export async function removeDocument(
  key: string,
  options: DocumentTarget & { cas?: bigint },
  world: Surroundings,
): Promise<void> {
  const { cas } = options
  await withClient(options, world, client =>
    client.remove(key, { ...placeOf(options), ...(cas === undefined ? {} : { cas }) }),
  )
}

export async function printStats(
  group: string | undefined,
  options: Target & { json?: boolean },
  world: Surroundings,
): Promise<void> {
  const stats = await withClient(options, world, client => client.stats(group))
  const lines = [...stats].map(([name, value]) => `${name} ${value}\n`)
  const json = () => `${JSON.stringify(Object.fromEntries(stats), null, 2)}\n`
  world.stdout.write(options.json ? json() : lines.join(''))
}

function readAll(stdin: Readable): Promise<Buffer> {
  return buffer(stdin)
}
