import { createHash } from 'node:crypto'
import fc from 'fast-check'
import type { CompressionName } from '../../src/backup/archive/compression.ts'
import {
  encodeDocument,
  sha256Of,
  type BackupDocument,
  type DataObject,
  type Manifest,
  type VbucketPosition,
} from '../../src/backup/archive/documents.ts'
import { backupIdOf, dataKey } from '../../src/backup/archive/layout.ts'
import { objectDigest } from '../../src/backup/archive/object-writer.ts'
import { noRecords, sumOf } from '../../src/backup/archive/record-counts.ts'
import type { ArchiveRecord, RecordKind } from '../../src/backup/archive/record.ts'
import { manifestMac, type Secret } from '../../src/backup/archive/repository-key.ts'
import { readBlocks } from '../../src/backup/data-object.ts'
import { Repository } from '../../src/backup/repository.ts'
import type { ObjectStore } from '../../src/backup/store/object-store.ts'
import { writeObject } from './objects.ts'

/** What one backup has: the changes of each of its vbuckets, by number. */
export type History = ReadonlyMap<number, readonly ArchiveRecord[]>

export interface ArchiveOptions {
  vbuckets: number
  secret?: Secret | undefined
  compression?: CompressionName
  blockBytes?: number
  segmentBytes?: number
}

const startedMs = Date.parse('2026-01-02T03:04:05.000Z')
const minuteMs = 60_000

/** A repository `r` with a chain of backups of a bucket that never was; answers with their ids. */
export async function buildArchive(
  store: ObjectStore,
  histories: readonly History[],
  options: ArchiveOptions,
): Promise<string[]> {
  const { secret, compression = 'snappy', vbuckets } = options
  const bucket = { name: 'default', uuid: 'of-the-bucket' }
  const repository = await Repository.create(store, 'r', {
    compression,
    secret,
    bucket,
    nowMs: startedMs,
  })
  const key = await repository.openKey(secret)
  const seqnos = Array.from({ length: vbuckets }, () => 0)
  // Each backup meets another history, which has begun where the one before it ended.
  const logs: VbucketPosition['failoverLog'][] = seqnos.map(() => [])
  const ids: string[] = []
  for (const [index, history] of histories.entries()) {
    const id = backupIdOf(index + 1, startedMs + index * minuteMs)
    const objects: DataObject[] = []
    for (const [vbid, log] of logs.entries())
      logs[vbid] = [{ vbuuid: String(1000 + index), seqno: seqnos[vbid]! }, ...log]
    for (const [vbid, records] of history) {
      if (records.length === 0) continue
      objects.push(await putObject(repository, id, { vbid, records, key, options }))
      seqnos[vbid] = records.at(-1)!.seqno
    }
    const manifest: Manifest = {
      format: 'holdfast-backup-manifest',
      version: 1,
      backup: id,
      objects,
      vbuckets: seqnos.map((seqno, vbid) => positionOf(vbid, seqno, logs[vbid]!)),
    }
    const bytes = encodeDocument(manifest)
    await store.put(`${repository.prefix(id)}manifest.json`, bytes)
    const document: BackupDocument = {
      format: 'holdfast-backup',
      version: 1,
      id,
      type: index === 0 ? 'full' : 'incremental',
      ...(index === 0 ? {} : { previous: ids.at(-1)! }),
      started: new Date(startedMs + index * minuteMs).toISOString(),
      completed: new Date(startedMs + (index + 0.5) * minuteMs).toISOString(),
      bucket,
      vbuckets,
      counts: sumOf(objects.map(({ counts }) => counts)),
      storedBytes: objects.reduce((sum, { size }) => sum + size, 0),
      manifest: {
        size: bytes.length,
        sha256: sha256Of(bytes),
        ...(key ? { mac: manifestMac(key, bytes) } : {}),
      },
    }
    await store.put(`${repository.prefix(id)}backup.json`, encodeDocument(document))
    ids.push(id)
  }
  return ids
}

function positionOf(
  vbid: number,
  seqno: number,
  failoverLog: VbucketPosition['failoverLog'],
): VbucketPosition {
  const bounds = { seqno, snapshotStart: seqno, snapshotEnd: seqno }
  return { vbid, vbuuid: failoverLog[0]!.vbuuid, failoverLog, ...bounds }
}

async function putObject(
  repository: Repository,
  id: string,
  object: {
    vbid: number
    records: readonly ArchiveRecord[]
    key: Uint8Array | undefined
    options: ArchiveOptions
  },
): Promise<DataObject> {
  const { vbid, records, key, options } = object
  const { compression = 'snappy', blockBytes = 1000, segmentBytes = 3000 } = options
  const sizes = { blockBytes, segmentBytes }
  const written = await writeObject(records, { vbid, compression, repositoryKey: key, ...sizes })
  await repository.store.put(`${repository.prefix(id)}${dataKey(vbid)}`, written.bytes)
  const last = written.segments.at(-1)!
  return {
    key: dataKey(vbid),
    vbid,
    size: written.bytes.length,
    segments: written.segments.length,
    sha256: objectDigest(written.segments.map(({ sha256 }) => sha256)),
    firstSeqno: records[0]!.seqno,
    lastSeqno: last.lastSeqno,
    counts: { ...noRecords, ...last.counts },
  }
}

/** The newest record of every key, as restoring the chain up to a backup would leave it: a line each. */
export async function stateOf(
  store: ObjectStore,
  backupId: string,
  secret?: Secret,
): Promise<string[]> {
  const repository = await Repository.open(store, 'r')
  const key = await repository.openKey(secret)
  const state = new Map<string, ArchiveRecord>()
  const [backup] = await repository.chosen(backupId)
  for (const { id, ...rest } of await repository.chainTo(backup!))
    for (const object of (await repository.manifest({ id, ...rest }, key)).objects)
      for await (const records of readBlocks({ repository, backupId: id, key }, object))
        for (const record of records)
          state.set(`${object.vbid}/${record.collectionId}/${record.key.toString('hex')}`, record)
  const lines = [...state].map(([name, record]) => {
    const { kind, seqno, cas, revno, flags, time, datatype, value } = record
    const digest = createHash('sha256').update(value).digest('hex')
    return [name, kind, seqno, cas, revno, flags, time, datatype, digest].join(' ')
  })
  return lines.sort()
}

const change = fc.record({
  vbid: fc.nat(3),
  kind: fc.constantFrom<RecordKind>(1, 1, 2, 3),
  step: fc.integer({ min: 1, max: 1000 }),
  collectionId: fc.constantFrom(0, 8),
  /** Few, so that they come again and again. */
  key: fc.nat(20),
  value: fc.uint8Array({ maxLength: 400, size: 'max' }),
})

/** Backups, one behind the other, of a bucket with four vbuckets. */
export const anyHistories = fc
  .array(fc.array(change, { maxLength: 60 }), { minLength: 2, maxLength: 5 })
  .map(backups => {
    const seqnos = [0, 0, 0, 0]
    return backups.map((changes): History => {
      const history = new Map<number, ArchiveRecord[]>()
      for (const { vbid, step, key, value, kind, collectionId } of changes) {
        const seqno = (seqnos[vbid]! += step)
        const records = history.get(vbid) ?? []
        records.push({
          kind,
          seqno,
          cas: BigInt(seqno) * 1000n + 1n,
          revno: seqno,
          flags: seqno & 0xff,
          time: kind === 1 ? 0 : 1_700_000_000,
          datatype: 0,
          collectionId,
          key: Buffer.from(`key-${key}`),
          value: kind === 1 ? Buffer.from(value) : Buffer.alloc(0),
        })
        history.set(vbid, records)
      }
      return history
    })
  })
