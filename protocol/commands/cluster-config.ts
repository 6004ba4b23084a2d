import { readUint64, writeUint64 } from '../bytes.ts'
import type { Frame } from '../frame.ts'

/**
 * The version of a cluster map, in the extras of GET_CLUSTER_CONFIG (what the client has) and of
 * the pushed notification (magic 0x82, opcode 0x01; key: the bucket; value: the map or nothing).
 *
 * ```
 * extras | epoch i64 | revision i64 |
 * ```
 */
export const clusterConfigVersionLength = 16

export interface ClusterConfigVersion {
  /** Greater means newer, whatever the revision; -1: not set yet. */
  epoch: number
  revision: number
}

export function encodeClusterConfigVersion(version: ClusterConfigVersion): Buffer {
  const extras = Buffer.alloc(clusterConfigVersionLength)
  writeUint64(extras, 0, BigInt(version.epoch))
  writeUint64(extras, 8, BigInt(version.revision))
  return extras
}

export function decodeClusterConfigVersion(frame: Frame): ClusterConfigVersion | undefined {
  if (frame.extrasLength !== clusterConfigVersionLength) return undefined
  return {
    epoch: Number(BigInt.asIntN(64, readUint64(frame.bytes, frame.extrasStart))),
    revision: Number(BigInt.asIntN(64, readUint64(frame.bytes, frame.extrasStart + 8))),
  }
}
