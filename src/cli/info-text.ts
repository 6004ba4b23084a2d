import type { BackupDetails, ListedBackup, Repository, UnfinishedDetails } from '../backup/index.ts'
import { changesText, countText, durationText, sizeText, tableText } from './sizes.ts'

/** What is known of a backup, as far as it was asked for. */
export interface ShownBackup extends ListedBackup {
  readonly unfinished: UnfinishedDetails | undefined
  readonly details: BackupDetails | undefined
}

/** Of a repository. */
export function headText({ name, document }: Repository): string {
  const { bucket, encryption, compression, created } = document
  const key = encryption ? `encrypted with key ${encryption.keyId}` : 'not encrypted'
  return `${name}: bucket ${bucket.name}, ${key}, compression ${compression}, made ${timeText(created)}\n`
}

const head =
  'backup state type began took vbuckets mutations deletions expirations documents stored'.split(
    ' ',
  )

/** A row for each backup. */
export function listText(backups: readonly ShownBackup[]): string {
  return tableText([head, ...backups.map(rowOf)])
}

function rowOf({ id, state, document, unfinished }: ShownBackup): string[] {
  const known = document ?? unfinished
  if (!known) return [id, state, ...head.slice(2).map(() => '')]
  const { type, started, vbuckets, counts, storedBytes } = known
  const { mutation, deletion, expiration, documentBytes } = counts
  const took = document ? tookText(document) : ''
  const numbers = [vbuckets, mutation, deletion, expiration].map(String)
  const bytes = [documentBytes, storedBytes].map(sizeText)
  return [id, state, type, timeText(started), took, ...numbers, ...bytes]
}

/** All that is known of one backup, of each vbucket, too, if that is asked for. */
export function detailsText(backup: ShownBackup, withVbuckets: boolean): string {
  const { id, state, details } = backup
  const rows = [...commonRows(backup), ...(details ? detailRows(details) : [])]
  if (state === 'complete' && !details) rows.push(['manifest', 'cannot be read: verify tells more'])
  const lines = rows.map(([name, text]) => `  ${name.padEnd(12)} ${text}\n`)
  const table = details && withVbuckets ? vbucketTable(details) : ''
  return `${id}: ${state}\n${lines.join('')}${table}`
}

function commonRows({ document, unfinished }: ShownBackup): [string, string][] {
  const known = document ?? unfinished
  if (!known) return []
  const { type, previous, started, vbuckets, counts, storedBytes } = known
  const { documentBytes } = counts
  const continues = previous === undefined ? '' : `, continues ${previous}`
  const rows: [string, string][] = [
    ['type', `${type}${continues}`],
    ['began', `${timeText(started)}${document ? `, took ${tookText(document)}` : ''}`],
    ['vbuckets', `${vbuckets}`],
    ['changes', changesText(counts)],
    ['bytes', `${sizeText(documentBytes)} of keys and values, stored in ${sizeText(storedBytes)}`],
  ]
  if (document?.merged) rows.push(['has taken up', document.merged.join(', ')])
  if (unfinished)
    rows.push(['runs', `${unfinished.runs}, next step: ${unfinished.nextStep ?? 'none'}`])
  return rows
}

function detailRows({ objects, segments, seqnos, collections }: BackupDetails): [string, string][] {
  const { first, last, sum } = seqnos
  const range = objects === 0 ? `up to ${last}` : `${first} to ${last}`
  return [
    ['objects', `${objects}, of ${countText(segments, 'segment')}`],
    ['seqnos', `${range}; ${sum} in all vbuckets together`],
    ['collections', collections ? collectionsText(collections) : 'the default one alone'],
  ]
}

function collectionsText({ uid, scopes }: NonNullable<BackupDetails['collections']>): string {
  const names = scopes.flatMap(scope =>
    scope.collections.map(({ name, maxTTL }) => {
      const expiry = maxTTL === undefined || maxTTL === 0 ? '' : ` (expiry ${maxTTL} s)`
      return `${scope.name}.${name}${expiry}`
    }),
  )
  return `${names.join(', ')}; of manifest ${uid}`
}

const vbucketHead =
  'vbucket from to seqno snapshot history mutations deletions expirations documents stored'.split(
    ' ',
  )

function vbucketTable({ vbuckets }: BackupDetails): string {
  const rows = vbuckets.map(({ vbid, seqno, snapshotStart, snapshotEnd, vbuuid, object }) => {
    const range = object ? [object.firstSeqno, object.lastSeqno].map(String) : ['', '']
    const at = [`${seqno}`, `${snapshotStart}-${snapshotEnd}`, vbuuid]
    if (!object) return [`${vbid}`, ...range, ...at, '', '', '', '', '']
    const { mutation, deletion, expiration, documentBytes } = object.counts
    const counts = [mutation, deletion, expiration].map(String)
    return [`${vbid}`, ...range, ...at, ...counts, sizeText(documentBytes), sizeText(object.size)]
  })
  return tableText([vbucketHead, ...rows])
}

function tookText({ started, completed }: { started: string; completed: string }): string {
  return durationText((Date.parse(completed) - Date.parse(started)) / 1000)
}

/** To the second. */
function timeText(time: string): string {
  return time.replace(/\.\d+Z$/, 'Z')
}
