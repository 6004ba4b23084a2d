import { backupNamed } from '../backup/chain.ts'
import { detailsOf, unfinishedDetailsOf } from '../backup/details.ts'
import { Repository, type ListedBackup } from '../backup/repository.ts'
import { withStore } from './archive-access.ts'
import type { ArchivePlace } from './archive-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { detailsText, headText, listText, type ShownBackup } from './info-text.ts'
import type { Surroundings } from './surroundings.ts'

export interface InfoOptions extends ArchivePlace {
  repo?: string
  backup?: string
  details?: boolean
  vbuckets?: boolean
  json?: boolean
}

/** What is in an archive. User data is not looked at, so no key is needed. */
export async function printInfo(options: InfoOptions, world: Surroundings): Promise<void> {
  const { repo, backup, json } = options
  if (backup !== undefined && repo === undefined)
    throw new CommandError(ExitCode.usage, '--backup needs --repo')
  const vbuckets = options.vbuckets ?? false
  const details = vbuckets || backup !== undefined || (options.details ?? false)
  await withStore(options, world, async (store, signal) => {
    const names = repo === undefined ? await Repository.names(store) : [repo]
    const described: object[] = []
    for (const name of names) {
      signal.throwIfAborted()
      const repository = await Repository.open(store, name)
      const listed = await repository.backups()
      const chosen = backup === undefined ? listed : [backupNamed(listed, backup)]
      const shown = await Promise.all(chosen.map(one => shownOf(repository, one, details)))
      if (json) described.push(jsonOf(repository, shown, vbuckets))
      else {
        world.stdout.write(headText(repository))
        if (details) for (const one of shown) world.stdout.write(detailsText(one, vbuckets))
        else world.stdout.write(shown.length > 0 ? listText(shown) : 'no backup is in it\n')
      }
    }
    if (json)
      world.stdout.write(`${JSON.stringify({ archive: store.url, repositories: described })}\n`)
    else if (names.length === 0) world.stdout.write('there is no repository in it\n')
  })
}

async function shownOf(
  repository: Repository,
  listed: ListedBackup,
  details: boolean,
): Promise<ShownBackup> {
  const isUnfinished = listed.state === 'unfinished'
  return {
    ...listed,
    unfinished: isUnfinished ? await unfinishedDetailsOf(repository, listed) : undefined,
    details: details ? await detailsOf(repository, listed) : undefined,
  }
}

function jsonOf(
  { name, document }: Repository,
  backups: readonly ShownBackup[],
  withVbuckets: boolean,
): object {
  return {
    name,
    ...document,
    encryption: document.encryption?.keyId,
    backups: backups.map(({ id, state, document, unfinished, details }) => ({
      id,
      state,
      complete: state === 'complete',
      ...document,
      unfinished,
      // Vbuckets are many, and their number is what `vbuckets` is.
      details: details && { ...details, vbuckets: withVbuckets ? details.vbuckets : undefined },
    })),
  }
}
