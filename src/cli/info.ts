import { Repository, type ListedBackup } from '../backup/index.ts'
import { withStore, type ArchivePlace } from './archive-options.ts'
import { sizeText, tableText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface InfoOptions extends ArchivePlace {
  repo?: string
  json?: boolean
}

/** What is in an archive. User data is not looked at, so no key is needed. */
export async function printInfo(options: InfoOptions, world: Surroundings): Promise<void> {
  const { repo, json } = options
  await withStore(options, world, async store => {
    const names = repo === undefined ? await Repository.names(store) : [repo]
    const repositories = []
    for (const name of names) {
      const repository = await Repository.open(store, name)
      repositories.push({ repository, backups: await repository.backups() })
    }
    if (json) {
      const described = repositories.map(({ repository, backups }) => ({
        name: repository.name,
        ...repository.document,
        encryption: repository.document.encryption?.keyId,
        backups: backups.map(({ id, state, document }) => ({
          id,
          state,
          complete: state === 'complete',
          ...document,
        })),
      }))
      world.stdout.write(`${JSON.stringify({ archive: store.url, repositories: described })}\n`)
      return
    }
    for (const { repository, backups } of repositories) {
      const { bucket, encryption } = repository.document
      const key = encryption ? `, encrypted with key ${encryption.keyId}` : ''
      world.stdout.write(`${repository.name}: bucket ${bucket.name}${key}\n`)
      world.stdout.write(tableText([infoHead, ...backups.map(infoRow)]))
    }
  })
}

const infoHead = ['backup', 'type', 'mutations', 'deletions', 'expirations', 'documents', 'stored']

function infoRow({ id, state, document }: ListedBackup): string[] {
  if (!document) return [id, state, '', '', '', '', '']
  const { type, counts, storedBytes } = document
  const { mutation, deletion, expiration, documentBytes } = counts
  const numbers = [mutation, deletion, expiration].map(String)
  return [id, type, ...numbers, sizeText(documentBytes), sizeText(storedBytes)]
}
