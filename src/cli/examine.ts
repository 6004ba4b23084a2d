import { datatypeName } from '../../protocol/datatype.ts'
import { recordKindName } from '../backup/archive/record.ts'
import { documentValueOf } from '../backup/examine/document-value.ts'
import { examine, type DocumentVersion } from '../backup/examine/examine.ts'
import { secretOf, withStore } from './archive-access.ts'
import type { ArchiveOptions } from './archive-options.ts'
import { keyFields, valueFields } from './change-line.ts'
import { CommandError, ExitCode } from './exit-code.ts'
import { countText, sizeText, tableText } from './sizes.ts'
import type { Surroundings } from './surroundings.ts'

export interface ExamineCommandOptions extends ArchiveOptions {
  backup?: string
  collection: string | number
  json?: boolean
  values?: boolean
}

/** The versions of one document that the backups of a repository have. */
export async function examineKey(
  key: string,
  options: ExamineCommandOptions,
  world: Surroundings,
): Promise<void> {
  const { repo, backup, collection, values = false } = options
  const json = (options.json ?? false) || values
  const rows: string[][] = []
  const result = await withStore(options, world, (store, signal) =>
    examine({
      store,
      repository: repo,
      key: Buffer.from(key),
      collection,
      backup,
      secret: secretOf(options, world.env),
      signal,
      found: async version => {
        if (json) world.stdout.write(await versionLine(version, values))
        else rows.push(versionRow(version))
      },
    }),
  )
  if (json) world.stdout.write(`${JSON.stringify({ type: 'complete', ...result })}\n`)
  else if (rows.length > 0) world.stdout.write(tableText([head, ...rows]))
  if (result.versions === 0)
    throw new CommandError(
      ExitCode.refused,
      `none of ${countText(result.backups, 'backup')} has this key`,
    )
}

const head = ['backup', 'version', 'seqno', 'cas', 'revision', 'expiry', 'datatype', 'size']

function versionRow({ backup, record }: DocumentVersion): string[] {
  const { seqno, cas, revno, datatype, value } = record
  const kind = recordKindName[record.kind]!
  const numbers = [seqno, cas, revno].map(String)
  return [
    backup.id,
    kind,
    ...numbers,
    timeText(record),
    datatypeName(datatype),
    sizeText(value.length),
  ]
}

function timeText({ kind, time }: DocumentVersion['record']): string {
  if (time === 0 || recordKindName[kind] !== 'mutation') return ''
  return new Date(time * 1000).toISOString().replace('.000', '')
}

/** As `holdfast stream` prints a change, with what only a backup knows beside it. */
async function versionLine(
  { backup, vbid, record }: DocumentVersion,
  withValue: boolean,
): Promise<string> {
  const { kind, seqno, cas, revno, flags, time, datatype, collectionId, key } = record
  const name = recordKindName[kind]!
  const isMutation = name === 'mutation'
  const line = JSON.stringify({
    type: name,
    backup: backup.id,
    vbid,
    collection: collectionId,
    seqno,
    revno,
    cas: String(cas),
    flags,
    ...(isMutation ? { expiry: time } : { deleteTime: time }),
    datatype: datatypeName(datatype),
    bytes: record.value.length,
    ...keyFields(key),
  })
  if (!withValue) return `${line}\n`
  const { value, xattrs } = await documentValueOf(record)
  const texts = [...xattrs].map(([name, json]) => `${JSON.stringify(name)}:${json}`)
  const attributes = texts.length > 0 ? `,"xattrs":{${texts.join(',')}}` : ''
  return `${line.slice(0, -1)}${attributes}${isMutation ? `,${valueFields(value)}` : ''}}\n`
}
