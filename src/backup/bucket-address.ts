import type { Credentials, TlsOptions } from '../client/index.ts'

/** Where the documents come from, or go to. */
export interface BucketAddress {
  readonly host: string
  readonly port: number
  readonly bucket: string
  readonly credentials?: Credentials
  readonly tls?: boolean | TlsOptions
}
