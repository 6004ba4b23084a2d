import { VbucketState } from '../../../protocol/vbucket-state.ts'
import {
  ClientError,
  DcpClient,
  type ArrivedChange,
  type DcpState,
  type SavedPosition,
} from '../../client/index.ts'
import type { Log } from '../../log.ts'
import { BackupError } from '../errors.ts'
import type { BucketAddress } from '../bucket-address.ts'
import { adopt } from './adoption.ts'
import { forEachOf } from '../lanes.ts'
import type { BackupContext } from './context.ts'
import { journalledPositions, type Journals } from './journal.ts'
import { PackWriter } from './pack-writer.ts'
import type { SourceNode } from './source-node.ts'
import { VbucketUpload } from './vbucket-upload.ts'

export interface StreamStep {
  readonly context: BackupContext
  readonly source: BucketAddress
  readonly node: SourceNode
  /** Of the DCP connection, by which the server knows who comes back. */
  readonly name: string
  readonly journals: Journals
  /** Where the last backup left each vbucket. */
  readonly base: ReadonlyMap<number, SavedPosition>
  readonly log: Log
  readonly dropJournal: (vbid: number) => Promise<void>
  readonly dropPack: (number: number) => Promise<void>
}

const progressIntervalMs = 500
/** What may be on its way from the server. */
const windowBytes = 20 * 1024 * 1024
/** Small vbuckets: to make them durable is to wait for the store, in which the stream goes on. */
const closingPerThread = 8

/**
 * Streams what every vbucket has now into the uploads; answers where each vbucket is then. As many
 * vbuckets are streamed at a time as there are threads: what is in memory is a segment for each.
 */
export async function streamChanges(step: StreamStep): Promise<Map<number, SavedPosition>> {
  const { node, base, journals } = step
  const seqnos = await node.ask(client => client.allVbSeqnos(VbucketState.active))
  for (const vbid of base.keys())
    if (!seqnos.has(vbid))
      throw new BackupError('mismatch', `vbucket ${vbid} of the last backup is not here`)
  const positions = new Map<number, SavedPosition>()
  const journalled = journalledPositions(journals)
  const wanted = new Map<number, number>()
  await Promise.all(
    [...seqnos].map(async ([vbid, seqno]) => {
      const known = journalled.get(vbid) ?? base.get(vbid)
      // Its history comes with its stream.
      if (!known && seqno > 0) return void wanted.set(vbid, seqno)
      const log = await node.ask(client => client.failoverLog(vbid))
      const position = known ?? startOf(vbid, log)
      positions.set(vbid, position)
      const sameHistory = position.seqno === 0 || position.vbuuid === String(log[0]?.vbuuid)
      if (seqno !== position.seqno || !sameHistory) wanted.set(vbid, seqno)
    }),
  )
  await adoptJournals(step, wanted)
  await adoptPacks(step, wanted)
  for (const vbid of wanted.keys()) {
    const position = journals.vbuckets.get(vbid)?.position ?? base.get(vbid)
    if (position) positions.set(vbid, position)
    else positions.delete(vbid)
  }
  if (wanted.size > 0) await new Streaming(step, wanted, positions).run()
  return positions
}

function startOf(vbid: number, log: readonly { vbuuid: bigint; seqno: number }[]): SavedPosition {
  return {
    vbid,
    vbuuid: String(log[0]?.vbuuid ?? 0n),
    failoverLog: log.map(entry => ({ vbuuid: String(entry.vbuuid), seqno: entry.seqno })),
    seqno: 0,
    snapshotStart: 0,
    snapshotEnd: 0,
  }
}

async function adoptJournals(
  { context, journals, dropJournal }: StreamStep,
  wanted: ReadonlyMap<number, number>,
): Promise<void> {
  await forEachOf([...journals.vbuckets.values()], context.threads, async journal => {
    const { vbid } = journal
    if (!wanted.has(vbid)) {
      context.report({ type: 'vbucket', vbid, action: 'keep', reason: 'nothing has changed since' })
      return
    }
    const adoption = await adopt(context, journal)
    context.report({ type: 'vbucket', vbid, action: adoption.action, reason: adoption.reason })
    if (adoption.journal) journals.vbuckets.set(vbid, adoption.journal)
    else await dropJournal(vbid)
  })
}

/** What a pack has of a vbucket cannot be added to, and is little. */
async function adoptPacks(
  { context, journals, dropPack }: StreamStep,
  wanted: ReadonlyMap<number, number>,
): Promise<void> {
  await forEachOf([...journals.packs.values()], context.threads, async pack => {
    for (const { vbid, size } of pack.objects) {
      const [action, reason] = wanted.has(vbid)
        ? (['restart', `${size} bytes in a pack are too few to be gone on with`] as const)
        : (['keep', 'nothing has changed since'] as const)
      context.report({ type: 'vbucket', vbid, action, reason })
    }
    const objects = pack.objects.filter(({ vbid }) => !wanted.has(vbid))
    if (objects.length === pack.objects.length) return
    if (objects.length > 0) return await context.keepPack({ ...pack, objects })
    await context.store.abortUpload(pack.upload)
    await dropPack(pack.number)
  })
}

class Streaming {
  readonly #step: StreamStep
  readonly #wanted: ReadonlyMap<number, number>
  readonly #positions: Map<number, SavedPosition>
  readonly #uploads = new Map<number, VbucketUpload>()
  readonly #packs: PackWriter
  readonly #closing = new Set<Promise<void>>()
  /** What of those that are closing was in memory when they began to. */
  #closingBytes = 0
  /** Nothing more is to be read meanwhile. */
  #busyClosing: Promise<void> | undefined
  #failure: { readonly error: unknown } | undefined
  #records = 0
  #documentBytes = 0

  constructor(
    step: StreamStep,
    wanted: ReadonlyMap<number, number>,
    positions: Map<number, SavedPosition>,
  ) {
    this.#step = step
    this.#wanted = wanted
    this.#positions = positions
    // Those of runs before are not added to.
    const first = Math.max(-1, ...step.journals.packs.keys()) + 1
    this.#packs = new PackWriter(step.context, first)
  }

  async run(): Promise<void> {
    const { context } = this.#step
    const stopping = new AbortController()
    const client = await this.#connect(AbortSignal.any([context.signal, stopping.signal]))
    const ticking = context.clock.every(progressIntervalMs, () => this.#report(client))
    try {
      for await (const event of client.events()) {
        if (this.#failure) throw this.#failure.error
        if (event.type === 'stream-end' && !event.reopens) await this.#end(event.vbid, client)
      }
      await Promise.all(this.#closing)
      if (this.#failure) throw this.#failure.error
      await this.#packs.finish()
      this.#report(client)
    } catch (error) {
      stopping.abort()
      // Whatever was on its way to the store is let come to its end: the journal then knows it.
      await Promise.allSettled(this.#closing)
      await this.#packs.settled()
      throw context.signal.aborted ? context.signal.reason : translated(error)
    } finally {
      ticking.cancel()
      // At the end of all streams it has said goodbye; else the server expects us back.
      await client.close()
    }
  }

  async #connect(signal: AbortSignal): Promise<DcpClient> {
    const { source, node, name, context, log } = this.#step
    const vbuckets = [...this.#wanted.keys()]
    const state: DcpState = {
      format: 'holdfast-dcp-state',
      version: 1,
      bucket: source.bucket,
      collections: 'all',
      vbuckets: vbuckets.flatMap(vbid => this.#positions.get(vbid) ?? []),
    }
    try {
      const options = {
        ...source,
        name,
        vbuckets,
        state,
        until: this.#wanted,
        openStreamsMax: context.threads,
        bufferBytes: windowBytes,
        includeXattrs: true,
        collections: 'all' as const,
        readInto: context.fillingBlocks.readInto,
        takeChange: (change: ArrivedChange) => this.#append(change),
        signal,
        log,
      }
      return await node.persist(() => DcpClient.connect(options))
    } catch (error) {
      throw context.signal.aborted ? context.signal.reason : translated(error)
    }
  }

  /** Within the read that brings it. A promise if nothing more is to be read for now. */
  #append(change: ArrivedChange): Promise<void> | undefined {
    if (this.#failure) throw this.#failure.error
    this.#records++
    this.#documentBytes += change.keyLength + change.frame.valueLength
    return this.#upload(change.vbid).append(change) ?? this.#busyClosing
  }

  #upload(vbid: number): VbucketUpload {
    let upload = this.#uploads.get(vbid)
    if (!upload) {
      const { context, journals } = this.#step
      upload = new VbucketUpload(context, vbid, journals.vbuckets.get(vbid))
      this.#uploads.set(vbid, upload)
    }
    return upload
  }

  /** The vbucket is brought to safety while others go on, as many at a time as memory allows. */
  async #end(vbid: number, client: DcpClient): Promise<void> {
    const position = client.position(vbid)!
    const upload = this.#upload(vbid)
    const { heldBytes } = upload
    this.#closingBytes += heldBytes
    const closing: Promise<void> = upload
      .close(position)
      .then(whole => whole && this.#packs.add(whole))
      .then(() => {
        this.#uploads.delete(vbid)
        this.#positions.set(vbid, position)
      })
      .catch((error: unknown) => {
        this.#failure ??= { error }
      })
      .finally(() => {
        this.#closing.delete(closing)
        this.#closingBytes -= heldBytes
      })
    this.#closing.add(closing)
    if (!this.#isBusyClosing()) return
    this.#busyClosing ??= this.#whileBusyClosing()
    await this.#busyClosing
  }

  async #whileBusyClosing(): Promise<void> {
    while (this.#isBusyClosing()) await Promise.race(this.#closing)
    this.#busyClosing = undefined
  }

  #isBusyClosing(): boolean {
    const { threads, segmentBytes } = this.#step.context
    if (this.#closing.size < threads) return false
    return this.#closing.size >= threads * closingPerThread || this.#closingBytes >= segmentBytes
  }

  #report(client: DcpClient): void {
    let seqnosLeft = 0
    let seqnosTotal = 0
    for (const [vbid, seqno] of this.#wanted) {
      const begin = this.#positions.get(vbid)?.seqno ?? 0
      seqnosTotal += Math.max(0, seqno)
      seqnosLeft += Math.max(0, seqno - Math.max(begin, client.position(vbid)?.seqno ?? 0))
    }
    this.#step.context.report({
      type: 'progress',
      records: this.#records,
      documentBytes: this.#documentBytes,
      seqnosLeft,
      seqnosTotal,
      vbucketsLeft: this.#uploads.size,
    })
  }
}

function translated(error: unknown): unknown {
  if (!(error instanceof ClientError) || error.code !== 'HOLDFAST_ROLLBACK') return error
  const advice = 'start again with --purge, or with --full for a new full backup'
  return new BackupError(
    'rollback',
    `the bucket has lost what was backed up: ${error.message}; ${advice}`,
  )
}
