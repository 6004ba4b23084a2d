/** Where an archive is. Nothing but `open-store.ts` knows which kind of store it has. */
export interface ObjectStore {
  /** For messages: the URL as it was given. */
  readonly url: string
  readonly limits: StoreLimits

  /** Replaces what is there; whoever reads sees the old bytes or the new ones. Durable when it resolves. */
  put(key: string, bytes: Uint8Array): Promise<void>
  /** Whether it was put: false if there is one already. */
  putIfAbsent(key: string, bytes: Uint8Array): Promise<boolean>
  /** All of a small object; undefined if there is none. */
  get(key: string): Promise<Buffer | undefined>
  /** An object in chunks, or its bytes from `start` to `end`. There has to be one. */
  read(key: string, range?: ByteRange): AsyncIterable<Buffer>
  /** Its size; undefined if there is none. */
  size(key: string): Promise<number | undefined>
  /** When it was put, by the store's clock, in milliseconds since 1970; undefined if there is none. */
  modifiedMs(key: string): Promise<number | undefined>
  /** Removes it, if it is there. */
  remove(key: string): Promise<void>
  /** Everything whose key begins with `prefix`, which ends with a slash or is empty; sorted by key. */
  list(prefix: string): AsyncIterable<StoredObject>
  /** What stands between `prefix` and the next slash, in the keys that begin with it and have one. */
  listFolders(prefix: string): Promise<string[]>

  /** The token tells, after a lost answer, whether the object is the one of this upload. */
  createUpload(key: string, token: string): Promise<Upload>
  /**
   * One part, from 1 on, without gaps; durable when it resolves. Putting a number again replaces the
   * part; the caller then puts those behind it again, too.
   */
  putPart(upload: UploadReference, number: number, content: PartContent): Promise<Part>
  /** A part out of an object that is there. */
  copyPart(
    upload: UploadReference,
    number: number,
    sourceKey: string,
    range?: ByteRange,
  ): Promise<Part>
  /** What was put so far, by number; undefined if there is no such upload any more. */
  listParts(upload: UploadReference): Promise<Part[] | undefined>
  /** Makes the parts the object. When it fails, `isCompleted` tells whether it was done. */
  completeUpload(upload: Upload, parts: readonly Part[]): Promise<void>
  /** Whether the object is what this upload has made, and of this size. */
  isCompleted(upload: Upload, size: number): Promise<boolean>
  /** Drops it with its parts, if it is there. */
  abortUpload(upload: UploadReference): Promise<void>
  /** Uploads begun and neither completed nor dropped. */
  listUploads(prefix: string): AsyncIterable<UploadReference>

  close(): Promise<void>
}

export interface StoreLimits {
  /** Of every part but the last of an upload. */
  readonly partBytesMin: number
  readonly partBytesMax: number
  readonly partsMax: number
}

export interface StoredObject {
  readonly key: string
  readonly size: number
}

/** From `start` up to and without `end`. */
export interface ByteRange {
  readonly start: number
  readonly end: number
}

export interface UploadReference {
  readonly key: string
  readonly id: string
}

export interface Upload extends UploadReference {
  readonly token: string
}

export interface PartContent {
  /** To be stored one behind the other. */
  readonly chunks: readonly Buffer[]
  readonly size: number
  /** Of the bytes, or of the SHA-256s of what they are made of; in hexadecimal digits. */
  readonly sha256: string
  /** Called as soon as nobody looks at the chunks any more: by a store that has a copy, or behind it. */
  readonly release?: (() => void) | undefined
}

export interface Part {
  readonly number: number
  readonly size: number
  /** The store's name for the bytes of the part. */
  readonly etag: string
}

/** The bytes of all of them together. */
export function sizeOf(parts: readonly { readonly size: number }[]): number {
  return parts.reduce((sum, { size }) => sum + size, 0)
}
