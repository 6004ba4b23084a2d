/**
 * Where things are in an archive:
 *
 * ```
 * archive.json
 * REPOSITORY/repository.json
 * REPOSITORY/lock.json                    while somebody writes
 * REPOSITORY/000001-20260102T030405Z/     a backup: its number, and when it began
 *   data/0000                             of vbucket 0; there is none if nothing changed
 *   data/pack-0000                        of small vbuckets, one behind the other
 *   checkpoint.json                       until it is complete
 *   manifest.json
 *   backup.json                           from when on it is complete
 *   data-2/0000, manifest-2.json          instead, of one that has taken up others
 *   merge.json                            until it has
 * ```
 */
export const archiveKey = 'archive.json'

export const repositoryKeyOf = (repository: string): string => `${repository}/repository.json`

export const lockKeyOf = (repository: string): string => `${repository}/lock.json`

/** Names of what lies below a backup's prefix. */
export const BackupFile = {
  checkpoint: 'checkpoint.json',
  manifest: 'manifest.json',
  backup: 'backup.json',
  /** While the backup is about to take up others. */
  merge: 'merge.json',
} as const

/** With the slash at its end: the prefix of one backup is never that of another one. */
export function backupPrefix(repository: string, backupId: string): string {
  return `${repository}/${backupId}/`
}

/** Below the backup's prefix. */
export function dataKey(vbid: number): string {
  return `data/${String(vbid).padStart(4, '0')}`
}

/** Below the backup's prefix: where data objects of small vbuckets lie together. */
export function packKey(number: number): string {
  return `data/pack-${String(number).padStart(4, '0')}`
}

/** Of one that has taken up others for the first time, the generation is 2. */
export function mergedDataKey(generation: number, vbid: number): string {
  return dataKey(vbid).replace('data', `data-${generation}`)
}

export function mergedManifestName(generation: number): string {
  return `manifest-${generation}.json`
}

/** By the name of the backup's manifest, if it has another than the usual one. */
export function generationOf(manifestName: string | undefined): number {
  return Number(/^manifest-(\d+)\.json$/.exec(manifestName ?? '')?.[1] ?? 1)
}

export function backupIdOf(number: number, startedMs: number): string {
  const time = new Date(startedMs).toISOString().replace(/[-:]|\.\d+/g, '')
  return `${String(number).padStart(6, '0')}-${time}`
}

const backupIdPattern = /^(\d{6,})-\d{8}T\d{6}Z$/

/** Undefined if it is no backup's id. */
export function backupNumberOf(backupId: string): number | undefined {
  const match = backupIdPattern.exec(backupId)
  return match ? Number(match[1]) : undefined
}

const repositoryPattern = /^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$/

/** Fails with a RangeError. */
export function checkRepositoryName(name: string): string {
  if (!repositoryPattern.test(name) || name === archiveKey)
    throw new RangeError(
      'a repository is named by up to 100 letters, digits, dots, hyphens and underscores',
    )
  return name
}
