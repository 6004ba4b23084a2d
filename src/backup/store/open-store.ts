import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import { BackupError } from '../errors.ts'
import { FileStore } from './file-store.ts'
import type { ObjectStore } from './object-store.ts'

export interface StoreOptions {
  /** Of an S3 that is not Amazon's; by default as the SDK finds it in the environment. */
  s3Endpoint?: string | undefined
  s3Region?: string | undefined
  /** Names the bucket in the path, not in the host name. */
  s3PathStyle?: boolean | undefined
}

/** The store of an archive: `s3://bucket/prefix`, `file:///path` or a path. */
export async function openStore(url: string, options: StoreOptions = {}): Promise<ObjectStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? 'path'
  const open = openers[scheme]
  if (!open) throw new BackupError('format', `no store is known for ${scheme}://`)
  return await open(url, options)
}

type Opener = (url: string, options: StoreOptions) => ObjectStore | Promise<ObjectStore>

const openers: Readonly<Record<string, Opener | undefined>> = {
  path: url => new FileStore(resolve(url)),
  file(url) {
    try {
      return new FileStore(fileURLToPath(url))
    } catch (cause) {
      throw new BackupError('format', `${url} is no path on this machine`, { cause })
    }
  },
  async s3(url, { s3Endpoint, s3Region, s3PathStyle }) {
    const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/i.exec(url) ?? []
    if (bucket === undefined) throw new BackupError('format', `${url} names no bucket`)
    // Which Node.js is needed is for Holdfast to say, not for the SDK to whoever makes a backup.
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
    // A quarter of a second to load: for those who need it.
    const { S3Store } = await import('./s3-store.ts')
    const options = { endpoint: s3Endpoint, region: s3Region, pathStyle: s3PathStyle }
    return new S3Store(bucket, prefix, options)
  },
}
