import { createHash, randomBytes, randomUUID } from 'node:crypto'
import type { Clock } from '../../clock.ts'
import { forEachOf } from '../lanes.ts'
import type { ObjectStore, Part, PartContent, Upload } from '../store/object-store.ts'

export interface ProbeScene {
  readonly store: ObjectStore
  /** Nothing else lies below it; ends with a slash. */
  readonly prefix: string
  readonly clock: Clock
  /** The upload that the probes share, once it has been begun. */
  begun: { readonly upload: Upload; readonly parts: Part[]; readonly size: number } | undefined
}

export interface Probe {
  readonly name: string
  /** Resolves with what was found out; throws if the store cannot do it. */
  readonly run: (scene: ProbeScene) => Promise<string | Limited>
}

/** It works, but for what is said here: backups do not need it. */
export class Limited {
  readonly message: string
  constructor(message: string) {
    this.message = message
  }
}

const rivals = 8
/** S3 refuses requests that are signed a quarter of an hour away; a lock is stale after five minutes. */
const clockDifferenceMaxMs = 2 * 60_000
const smallPartBytes = 100

/** In the order in which they are made: what one leaves, the next may use. */
export const probes: readonly Probe[] = [
  { name: 'put', run: putAndReplace },
  { name: 'read', run: readBack },
  { name: 'range', run: readRange },
  { name: 'list', run: listed },
  { name: 'put if absent', run: putIfAbsent },
  { name: 'clock', run: clockDifference },
  { name: 'upload', run: upload },
  { name: 'list uploads', run: listUploads },
  { name: 'complete', run: complete },
  { name: 'copy part', run: copyPart },
  { name: 'small parts', run: smallParts },
  { name: 'abort', run: abort },
  { name: 'remove', run: remove },
]

const first = Buffer.from('first')
/** Names that have to be encoded on their way. */
const textName = 'text ä+b'
const largeName = 'large'

async function putAndReplace({ store, prefix }: ProbeScene): Promise<string> {
  await store.put(`${prefix}${textName}`, first)
  await store.put(`${prefix}${textName}`, Buffer.from('the second'))
  return 'an object is put and replaced'
}

async function readBack({ store, prefix }: ProbeScene): Promise<string> {
  const text = (await store.get(`${prefix}${textName}`))?.toString()
  expect(text === 'the second', `an object that was replaced reads ${JSON.stringify(text)}`)
  const size = await store.size(`${prefix}${textName}`)
  expect(size === 10, `an object of 10 bytes has ${size} by its head`)
  const none = await store.get(`${prefix}none`)
  expect(none === undefined, 'an object that was never put is there')
  return 'it has the bytes and the size that were put last'
}

async function readRange({ store, prefix }: ProbeScene): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of store.read(`${prefix}${textName}`, { start: 4, end: 7 }))
    chunks.push(chunk)
  const text = Buffer.concat(chunks).toString()
  expect(text === 'sec', `bytes 4 to 6 read ${JSON.stringify(text)}`)
  return 'a range of bytes is read'
}

async function listed({ store, prefix }: ProbeScene): Promise<string> {
  await store.put(`${prefix}below/it`, first)
  const keys: string[] = []
  for await (const { key } of store.list(prefix)) keys.push(key.slice(prefix.length))
  expect(keys.join() === `below/it,${textName}`, `what was put is listed as ${keys.join()}`)
  const folders = await store.listFolders(prefix)
  expect(folders.join() === 'below', `a prefix with a slash is listed as ${folders.join()}`)
  return 'objects and prefixes are listed, at once after they were put'
}

async function putIfAbsent({ store, prefix }: ProbeScene): Promise<string | Limited> {
  const key = `${prefix}lock`
  expect(await store.putIfAbsent(key, first), 'it is not put where nothing is')
  const isReplaced = await store.putIfAbsent(key, Buffer.from('another'))
  expect(!isReplaced && (await store.get(key))?.equals(first) === true, 'it replaces what is there')
  let winners = 0
  const names = Array.from({ length: rivals }, () => randomUUID())
  await forEachOf(names, rivals, async name => {
    if (await store.putIfAbsent(`${prefix}race`, Buffer.from(name))) winners++
  })
  const advice = 'two tools that begin in the same moment may both get the lock; one stops later'
  return winners === 1
    ? `one of ${rivals} at once puts it`
    : new Limited(`${winners} of ${rivals} at once put it: ${advice}`)
}

async function clockDifference({ store, prefix, clock }: ProbeScene): Promise<string> {
  const key = `${prefix}clock`
  await store.put(key, first)
  const nowMs = clock.nowMs()
  const modifiedMs = await store.modifiedMs(key)
  expect(modifiedMs !== undefined, 'an object has no time')
  const seconds = Math.round((modifiedMs! - nowMs) / 1000)
  const text = `the store's clock is ${Math.abs(seconds)} s ${seconds < 0 ? 'behind' : 'ahead'}`
  expect(Math.abs(modifiedMs! - nowMs) <= clockDifferenceMaxMs, text)
  return Math.abs(seconds) < 2 ? 'the clocks agree' : text
}

async function upload(scene: ProbeScene): Promise<string> {
  const { store, prefix, clock } = scene
  const bytes = randomBytes(Math.max(store.limits.partBytesMin, 1024 * 1024))
  const made = await store.createUpload(`${prefix}${largeName}`, randomUUID())
  const startedMs = clock.monotonicMs()
  const parts = [await store.putPart(made, 1, contentOf(bytes))]
  const seconds = Math.max(0.001, (clock.monotonicMs() - startedMs) / 1000)
  parts.push(await store.putPart(made, 2, contentOf(first)))
  scene.begun = { upload: made, parts, size: bytes.length + first.length }
  const known = await store.listParts(made)
  const isKnown = JSON.stringify(known) === JSON.stringify(parts)
  expect(isKnown, 'the parts that were put are not those that are listed')
  const rate = bytes.length / seconds / 2 ** 20
  return `parts are put and listed, at ${rate.toFixed(rate < 10 ? 1 : 0)} MiB/s`
}

async function listUploads(scene: ProbeScene): Promise<string> {
  const { store, prefix, begun } = scene
  const ids: string[] = []
  for await (const { id } of store.listUploads(prefix)) ids.push(id)
  const expected = begun?.upload.id
  expect(expected === undefined || ids.includes(expected), 'an upload that was begun is not listed')
  return 'uploads are listed: what a crash leaves can be found'
}

async function complete(scene: ProbeScene): Promise<string> {
  const { store } = scene
  const { upload, parts, size } = uploadOf(scene)
  await store.completeUpload(upload, parts)
  expect(await store.isCompleted(upload, size), 'a completed upload is not the object')
  const other = { ...upload, token: randomUUID() }
  expect(!(await store.isCompleted(other, size + 1)), 'an object is taken for another one')
  const least = store.limits.partBytesMin
  return least === 0
    ? 'an upload is made an object'
    : `a part of ${least} bytes, followed by another, is made an object`
}

async function copyPart(scene: ProbeScene): Promise<string> {
  const { store, prefix } = scene
  const { size } = uploadOf(scene)
  const again = await store.createUpload(`${prefix}${largeName}`, randomUUID())
  const parts = [
    await store.copyPart(again, 1, `${prefix}${largeName}`),
    await store.putPart(again, 2, contentOf(first)),
  ]
  await store.completeUpload(again, parts)
  expect(await store.isCompleted(again, size + first.length), 'the copy has another size')
  return 'an object becomes the first part of the next upload of its key'
}

async function smallParts({ store, prefix }: ProbeScene): Promise<string | Limited> {
  if (store.limits.partBytesMin <= smallPartBytes) return 'parts may be of any size'
  const small = await store.createUpload(`${prefix}small`, randomUUID())
  const parts = [
    await store.putPart(small, 1, contentOf(Buffer.alloc(smallPartBytes))),
    await store.putPart(small, 2, contentOf(first)),
  ]
  const isTaken = await store.completeUpload(small, parts).then(
    () => true,
    () => false,
  )
  if (!isTaken) await store.abortUpload(small)
  return isTaken ? 'smaller parts are taken, too' : 'smaller parts are refused, as they may be'
}

async function abort({ store, prefix }: ProbeScene): Promise<string> {
  const dropped = await store.createUpload(`${prefix}dropped`, randomUUID())
  await store.putPart(dropped, 1, contentOf(first))
  await store.abortUpload(dropped)
  const isThere = (await store.listParts(dropped)) !== undefined
  expect(!isThere, 'an upload that was dropped is still there')
  return 'an upload is dropped with its parts'
}

async function remove({ store, prefix }: ProbeScene): Promise<string> {
  await store.remove(`${prefix}${textName}`)
  await store.remove(`${prefix}${textName}`)
  const isThere = (await store.size(`${prefix}${textName}`)) !== undefined
  expect(!isThere, 'an object that was removed is still there')
  return 'an object is removed, also twice'
}

function uploadOf({ begun }: ProbeScene) {
  if (!begun) throw new Error('no upload could be begun')
  return begun
}

function contentOf(bytes: Buffer): PartContent {
  const sha256 = createHash('sha256').update(bytes).digest('hex')
  return { chunks: [bytes], size: bytes.length, sha256 }
}

function expect(holds: boolean, otherwise: string): void {
  if (!holds) throw new Error(otherwise)
}
