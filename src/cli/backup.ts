import {
  backUp,
  breakLock,
  Repository,
  type BackupDocument,
  type CompressionName,
  type ListedBackup,
} from '../backup/index.ts'
import { secretOf, withStore, type ArchiveOptions, type ArchivePlace } from './archive-options.ts'
import { BackupProgress } from './backup-progress.ts'
import { accessOf, type Target } from './command-options.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { durationText, sizeText, tableText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface BackupCommandOptions extends Target, ArchiveOptions {
  staging: string
  resume?: boolean
  purge?: boolean
  full?: boolean
  compression?: CompressionName
  threads: number
  lockTimeout: number
  json?: boolean
}

export async function backUpBucket(
  options: BackupCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { bucket, resume, purge, full, json = false } = options
  if (resume && purge)
    throw new CommandError(ExitCode.usage, 'either --resume or --purge, not both')
  const progress = new BackupProgress(world, json)
  const startedMs = performance.now()
  try {
    const backup = await withStore(options, world, (store, signal) =>
      backUp({
        store,
        repository: options.repo,
        source: { bucket, ...accessOf(options, world.env) },
        stagingRoot: options.staging,
        unfinished: resume ? 'resume' : purge ? 'purge' : undefined,
        full: full ?? false,
        compression: options.compression,
        secret: secretOf(options, world.env),
        threads: options.threads,
        lockTimeoutMs: options.lockTimeout * 1000,
        signal,
        report: event => progress.report(event),
      }),
    )
    progress.end()
    const seconds = (performance.now() - startedMs) / 1000
    world.stdout.write(json ? jsonOf(backup) : textOf(backup, seconds))
  } finally {
    progress.end()
  }
}

function jsonOf(backup: BackupDocument): string {
  return `${JSON.stringify({ type: 'complete', backup })}\n`
}

function textOf({ id, type, counts, storedBytes }: BackupDocument, seconds: number): string {
  const { mutation, deletion, expiration, documentBytes } = counts
  return (
    `${id} ${type}: ${mutation} mutations, ${deletion} deletions, ${expiration} expirations; ` +
    `${sizeText(documentBytes)} in ${sizeText(storedBytes)}, ${durationText(seconds)}\n`
  )
}

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
        backups: backups.map(({ id, document }) => ({ id, complete: !!document, ...document })),
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

function infoRow({ id, document }: ListedBackup): string[] {
  if (!document) return [id, 'unfinished', '', '', '', '', '']
  const { type, counts, storedBytes } = document
  const { mutation, deletion, expiration, documentBytes } = counts
  const numbers = [mutation, deletion, expiration].map(String)
  return [id, type, ...numbers, sizeText(documentBytes), sizeText(storedBytes)]
}

export async function unlockRepository(
  options: ArchiveOptions,
  world: Surroundings,
): Promise<void> {
  await withStore(options, world, async store => {
    const repository = await Repository.open(store, options.repo)
    const holder = await breakLock(store, repository.name)
    const text = holder === undefined ? 'it was not locked' : `unlocked; it was: ${holder}`
    world.stdout.write(`${text}\n`)
  })
}
