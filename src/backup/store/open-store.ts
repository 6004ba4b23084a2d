import { resolve } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { Clock } from '../../clock.ts'
import { clientClock } from '../../client/client-clock.ts'
import { Throttle } from '../throttle.ts'
import { FileStore } from './file-store.ts'
import type { ObjectStore } from './object-store.ts'
import { ThrottledStore } from './throttled-store.ts'

export interface StoreOptions {
  /** Of an S3 that is not Amazon's; by default as the SDK finds it in the environment. */
  s3Endpoint?: string | undefined
  s3Region?: string | undefined
  /** Names the bucket in the path, not in the host name. */
  s3PathStyle?: boolean | undefined
  /** Bytes a second to and from the archive. */
  bytesPerSecond?: number | undefined
  /** Requests a second to S3. */
  requestsPerSecond?: number | undefined
  clock?: Clock
}

/** The store of an archive: `s3://bucket/prefix`, `file:///path` or a path. */
export async function openStore(url: string, options: StoreOptions = {}): Promise<ObjectStore> {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(url)?.[1]?.toLowerCase() ?? 'path'
  const open = openers[scheme]
  if (!open) throw new RangeError(`no store is known for ${scheme}://`)
  const store = await open(url, options)
  const { bytesPerSecond, clock = clientClock } = options
  if (bytesPerSecond === undefined) return store
  return new ThrottledStore(store, new Throttle(bytesPerSecond, clock))
}

type Opener = (url: string, options: StoreOptions) => ObjectStore | Promise<ObjectStore>

const openers: Readonly<Record<string, Opener | undefined>> = {
  path: url => new FileStore(resolve(url)),
  file(url) {
    try {
      return new FileStore(fileURLToPath(url))
    } catch (cause) {
      throw new RangeError(`${url} is no path on this machine`, { cause })
    }
  },
  async s3(url, { s3Endpoint, s3Region, s3PathStyle, requestsPerSecond, clock = clientClock }) {
    const [, bucket, prefix = ''] = /^s3:\/\/([^/]+)(?:\/(.*))?$/i.exec(url) ?? []
    if (bucket === undefined) throw new RangeError(`${url} names no bucket`)
    // Which Node.js is needed is for Holdfast to say, not for the SDK to whoever makes a backup.
    process.env['AWS_SDK_JS_NODE_VERSION_SUPPORT_WARNING_DISABLED'] ??= 'true'
    // A quarter of a second to load: for those who need it.
    const { S3Store } = await import('./s3-store.ts')
    const requests = requestsPerSecond ? new Throttle(requestsPerSecond, clock) : undefined
    const options = { endpoint: s3Endpoint, region: s3Region, pathStyle: s3PathStyle, requests }
    return new S3Store(bucket, prefix, options)
  },
}
