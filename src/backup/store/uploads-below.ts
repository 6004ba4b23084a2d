import { forEachOf } from '../lanes.ts'
import type { ObjectStore, UploadReference } from './object-store.ts'

/** All uploads under a prefix, which ends with a slash. */
export async function uploadsBelow(store: ObjectStore, prefix: string): Promise<UploadReference[]> {
  const uploads: UploadReference[] = []
  for await (const upload of store.listUploads(prefix)) uploads.push(upload)
  return uploads
}

/** Drops them, so many at a time; answers with those that there were. */
export async function abortUploadsBelow(
  store: ObjectStore,
  prefix: string,
  atATime: number,
): Promise<UploadReference[]> {
  const uploads = await uploadsBelow(store, prefix)
  await forEachOf(uploads, atATime, upload => store.abortUpload(upload))
  return uploads
}

/** Fails if uploads cannot be listed, which a store may allow or not. */
export async function expectUploadsListed(store: ObjectStore, prefix: string): Promise<void> {
  await store.listUploads(prefix)[Symbol.asyncIterator]().next()
}
