/**
 * The backfill thread: it holds the pinned snapshots (LMDB read transactions belong to the thread
 * that began them) and reads slabs of frames out of them, so that a backfill costs the main
 * thread no more than writing the slabs to the socket.
 *
 * Between two reads nothing but the transaction is kept: each read seeks to where it is told.
 */
import { setPriority } from 'node:os'
import { parentPort, workerData } from 'node:worker_threads'
import type { Transaction } from 'lmdb'
import { invariant, OperatorError } from '../errors.ts'
import { openEnvironment, type Environment } from './environment.ts'
import { storageError } from './storage-error.ts'
import { isBlockIntact } from './block.ts'
import { writeFrames, type Slab } from './block-frames.ts'
import { BlockScan } from './block-scan.ts'
import { KeyScan } from './key-scan.ts'
import { RecordFilter } from './record-filter.ts'
import { ServedLately } from './served-lately.ts'
import type {
  BackfillStart,
  FromBackfill,
  PinnedVbucket,
  ScannedPart,
  ScanRange,
  ToBackfill,
} from './snapshot-messages.ts'
import { decodeVbucketRecord } from './vbucket-record.ts'

interface Pinned {
  environment: Environment
  scan: BlockScan
  transaction: Transaction
}

// Whoever waits for a document goes first. On Linux this is about this thread, elsewhere it would
// be about all of the process.
if (process.platform === 'linux') setPriority(10)

const start = workerData as BackfillStart
const { mapSizeBytes, readerSlotsMax } = start
const environments = start.directories.map(directory =>
  openEnvironment({ directory, mapSizeBytes, readerSlotsMax }),
)
const scans = environments.map(environment => new BlockScan(environment))
/** Of environments that are being written anew. */
const copies = new Map<number, Environment>()
const pinned = new Map<number, Pinned>()
/** Range scans; each ends before its snapshot does. */
const keyScans = new Map<number, KeyScan>()
/** After so many blocks the thread looks whether others want the processor. */
const blocksBetweenRests = 16
const restMs = 0.3
/** A stream of which nearly nothing is wanted lets others read after so many. */
const blocksPerReadMax = 1024
let blocksRead = 0
const servedLately = new ServedLately()

function pin(snapshotId: number, index: number): [number, PinnedVbucket][] {
  const environment = environments[index]!
  const transaction = environment.pin()
  try {
    const shown = [...shownVbuckets(environment, transaction)]
    pinned.set(snapshotId, { environment, scan: scans[index]!, transaction })
    return shown
  } catch (error) {
    transaction.done()
    throw error
  }
}

function* shownVbuckets(
  environment: Environment,
  transaction: Transaction,
): Generator<[number, PinnedVbucket]> {
  for (const { key: vbid, value } of environment.vbuckets.getRange({ transaction })) {
    const { highSeqno, purgeSeqno, defaultSeqno = 0 } = decodeVbucketRecord(value)
    yield [vbid, { highSeqno, purgeSeqno, defaultSeqno }]
  }
}

function release(snapshotId: number): void {
  const { transaction } = pinnedOf(snapshotId)
  transaction.done()
  pinned.delete(snapshotId)
}

function pinnedOf(snapshotId: number): Pinned {
  const found = pinned.get(snapshotId)
  invariant(found, 'a snapshot is used between its pin and its release')
  return found
}

function openCopy(index: number, openIn: string): void {
  const { directory } = environments[index]!
  copies.set(index, openEnvironment({ directory, openIn, mapSizeBytes, readerSlotsMax }))
}

async function closeCopy(index: number, isAdopted: boolean): Promise<void> {
  const copy = copies.get(index)
  copies.delete(index)
  if (!isAdopted) return copy?.close()
  invariant(copy, 'a copy is opened before it is adopted')
  const original = environments[index]!
  environments[index] = copy
  scans[index] = new BlockScan(copy)
  await original.close()
}

type ReadMessage = Extract<ToBackfill, { kind: 'read' }>

/** Fills one slab: from the first range as much as there is room for, and then from the next. */
function read({ request, ranges, bytesMax, slab: memory }: ReadMessage): FromBackfill {
  let isOutgrown = false
  const outgrown = () => (isOutgrown = true)
  const slab: Slab = { bytes: Buffer.from(memory), length: 0, outgrown }
  const parts: ScannedPart[] = []
  for (const range of ranges) {
    const begin = slab.length
    try {
      const part = readRange(slab, range, bytesMax)
      if (parts.length > 0 && part.frames === 0 && !part.done) break
      parts.push(part)
    } catch (error) {
      // Asked for again, it is the first, and fails alone.
      if (parts.length === 0) throw error
      slab.length = begin
      break
    }
    if (slab.length >= bytesMax) break
  }
  const larger = isOutgrown ? (slab.bytes.buffer as ArrayBuffer) : undefined
  return { kind: 'slab', request, parts, larger }
}

function readRange(slab: Slab, range: ScanRange, bytesMax: number): ScannedPart {
  const { environment, scan, transaction } = pinnedOf(range.snapshotId)
  const { vbid, afterSeqno, toSeqno, form, block: first } = range
  const frames = { toSeqno, form, filter: new RecordFilter(form), bytesMax }
  const begin = slab.length
  const part: ScannedPart = {
    length: 0,
    frames: 0,
    lastSeqno: afterSeqno,
    frameSeqno: afterSeqno,
    block: first,
    done: true,
  }
  const bounds = { vbid, from: afterSeqno + 1, to: toSeqno, first, transaction, readsAlone: true }
  let blocks = 0
  for (const block of scan.blocks(bounds)) {
    part.block = block.block
    if (!isBlockIntact(block.bytes, block.length)) {
      const cause = new Error(`corrupt block: vbucket ${vbid}, seqno ${block.block}`)
      throw storageError(cause, environment.directory)
    }
    part.done = writeFrames(block, frames, slab, part)
    if (!part.done) break
    if (++blocksRead % blocksBetweenRests === 0) rest()
    if (++blocks < blocksPerReadMax) continue
    part.done = false
    break
  }
  part.length = slab.length - begin
  return part
}

/**
 * Lets those run who wait for a processor, while there are some now and then. A lower priority
 * alone does not: the kernel lets a thread that computes finish its turn of milliseconds before
 * one that serves a document gets its own, and the document that waits is not counted yet.
 */
function rest(): void {
  const { served } = start
  const count = served[0]!
  if (servedLately.look(count, performance.now())) Atomics.wait(served, 0, count, restMs)
}

type Performed = Exclude<ToBackfill, { kind: 'close' | 'close-copy' }>

function perform(message: Performed): FromBackfill | undefined {
  if (message.kind === 'read') return read(message)
  if (message.kind === 'open-keys') return openKeys(message)
  if (message.kind === 'read-keys') {
    const scan = keyScans.get(message.scanId)
    invariant(scan, 'a scan is read between its opening and its close')
    return { kind: 'keys', request: message.request, ...scan.read(message.limits) }
  }
  if (message.kind === 'close-keys') {
    keyScans.delete(message.scanId)
    return undefined
  }
  if (message.kind === 'release') {
    release(message.snapshotId)
    return undefined
  }
  if (message.kind === 'open-copy') {
    openCopy(message.environment, message.copy)
    return { kind: 'copy-opened', request: message.request }
  }
  const vbuckets = pin(message.snapshotId, message.environment)
  return { kind: 'pinned', request: message.request, vbuckets }
}

type OpenKeysMessage = Extract<ToBackfill, { kind: 'open-keys' }>

function openKeys({ request, scanId, snapshotId, keys, seqno }: OpenKeysMessage): FromBackfill {
  const { environment, transaction } = pinnedOf(snapshotId)
  const scan = new KeyScan(environment, transaction, keys)
  const hasSeqno = seqno === undefined || scan.hasSeqno(seqno)
  keyScans.set(scanId, scan)
  return { kind: 'keys-opened', request, hasSeqno }
}

const port = parentPort
invariant(port, 'backfills run as a worker thread')
const say = (message: FromBackfill, memory: ArrayBuffer[] = []) => port.postMessage(message, memory)

async function close(): Promise<void> {
  for (const snapshotId of pinned.keys()) release(snapshotId)
  for (const environment of [...environments, ...copies.values()]) await environment.close()
  say({ kind: 'closed' })
  port!.close()
}

port.on('message', (message: ToBackfill) => {
  if (message.kind === 'close') {
    void close()
    return
  }
  if (message.kind === 'close-copy') {
    const { request, environment, isAdopted } = message
    void closeCopy(environment, isAdopted).then(() => say({ kind: 'copy-closed', request }))
    return
  }
  try {
    const answer = perform(message)
    if (answer === undefined) return
    const larger = answer.kind === 'slab' ? answer.larger : undefined
    say(answer, larger === undefined ? [] : [larger])
  } catch (error) {
    if (!('request' in message)) throw error
    const known = error instanceof OperatorError ? error : storageError(error, 'backfill')
    const { code, message: text, hint } = known
    say({ kind: 'failed', request: message.request, code, message: text, hint })
  }
})
say({ kind: 'ready' })
