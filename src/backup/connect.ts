import { Status } from '../../protocol/status.ts'
import { ClientError, KvClient, ServerError } from '../client/index.ts'
import type { BucketAddress } from './bucket-address.ts'
import { BackupError } from './errors.ts'

/** A bucket that is behind with its disks does not answer until it has caught up. */
const requestTimeoutMs = 60_000

/** A connection to the bucket, or an error that says which one there is not. */
export async function connectToBucket(
  address: BucketAddress,
  agent: string,
  { collections = false } = {},
): Promise<KvClient> {
  try {
    return await KvClient.connect({ ...address, agent, collections, requestTimeoutMs })
  } catch (error) {
    if (!(error instanceof ServerError)) throw error
    const where = `bucket ${address.bucket} at ${address.host}:${address.port}`
    if (error.status === Status.keyNotFound || error.status === Status.noBucket)
      throw new BackupError('refused', `there is no ${where}`, { cause: error })
    if (error.status !== Status.accessDenied) throw error
    const message = `there is no ${where}, or this user may not use it`
    throw new BackupError('refused', message, { cause: error })
  }
}

const passing: ReadonlySet<string> = new Set([
  'HOLDFAST_CONNECT',
  'HOLDFAST_CONNECTION_LOST',
  'HOLDFAST_TIMEOUT',
])

/** There was no connection, or none any more: with another one the same may succeed. */
export function isConnectionLoss(error: unknown): error is ClientError {
  return error instanceof ClientError && passing.has(error.code)
}
