import { BackupError } from '../errors.ts'

/** What the SDK throws: an answer of the service with its status, or what kept one from coming. */
interface ServiceError extends Error {
  readonly $metadata?: { readonly httpStatusCode?: number }
  readonly Code?: string
  /** The request, as the SDK calls it; told by `S3Connection`. */
  operation?: string
}

/** What has to be allowed for each request: several of them are one thing to whoever grants it. */
const permissions: Readonly<Record<string, string>> = {
  PutObject: 'PutObject',
  CreateMultipartUpload: 'PutObject',
  UploadPart: 'PutObject',
  UploadPartCopy: 'PutObject and GetObject',
  CompleteMultipartUpload: 'PutObject',
  GetObject: 'GetObject',
  HeadObject: 'GetObject',
  DeleteObject: 'DeleteObject',
  ListObjectsV2: 'ListBucket',
  AbortMultipartUpload: 'AbortMultipartUpload',
  ListParts: 'ListMultipartUploadParts',
  ListMultipartUploads: 'ListBucketMultipartUploads',
}

/** Notes which request it was that failed. */
export function noteOperation(error: unknown, command: object): void {
  if (!(error instanceof Error)) return
  ;(error as ServiceError).operation ??= command.constructor.name.replace(/Command$/, '')
}

export function statusOf(error: unknown): number | undefined {
  return (error as ServiceError).$metadata?.httpStatusCode
}

/** No such object, upload; nor bucket, of which whoever lists is told otherwise. */
export function isMissing(error: unknown): boolean {
  return statusOf(error) === 404 && (error as Error).name !== 'NoSuchBucket'
}

/** Whether the same request may do better later. */
export function mayPass(error: unknown): boolean {
  const status = statusOf(error)
  return status === undefined || status >= 500 || status === 408 || status === 429
}

const expired: readonly string[] = ['ExpiredToken', 'ExpiredTokenException', 'TokenRefreshRequired']
/** What the SDK calls an answer without a code. */
const unnamed: readonly string[] = ['Unknown', 'UnknownError', 'BadRequest', 'Forbidden', '403']

/** Credentials that were good once. The answer to a HEAD has no body that could say so. */
export function isExpired(error: unknown): boolean {
  const { name } = error as Error
  return expired.includes(name) || (statusOf(error) === 400 && unnamed.includes(name))
}

const advice: Readonly<Record<string, string>> = {
  NoSuchBucket: 'there is no such bucket: make it first',
  InvalidAccessKeyId: 'the store does not know this access key',
  SignatureDoesNotMatch: 'the secret key is another one',
  ExpiredToken: 'the credentials have expired',
  CredentialsProviderError:
    'there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY',
}

export function asBackupError(error: unknown, where: string): Error {
  if (error instanceof BackupError) return error
  const { name, message } = error as ServiceError
  const status = statusOf(error)
  const what = advice[name] ?? refusal(error as ServiceError) ?? message
  const code = isMissing(error) ? 'missing' : 'store'
  const told = status === undefined ? name : `${status} ${name}`
  return new BackupError(code, `${where}: ${what} (${told})`, {
    cause: error,
    mayPass: mayPass(error),
  })
}

/** Undefined if it is none. The answer to a HEAD says no more than its status. */
function refusal(error: ServiceError): string | undefined {
  const { name, operation = '' } = error
  const isRefused = name === 'AccessDenied' || (statusOf(error) === 403 && unnamed.includes(name))
  if (!isRefused) return undefined
  const permission = permissions[operation] ?? operation
  return `these credentials may not do that: they need the permission ${permission}`
}
