import type { Frame } from '../frame.ts'

/**
 * CREATE_BUCKET (0x85).
 *
 * ```
 * key: the name   value: module, then nothing or a zero byte and configuration "name=value;…"
 * ```
 */
export interface CreateBucket {
  name: string
  /** Which engine; other servers use file names such as `ep.so`. */
  module: string
  configuration: string
}

/** The value of the request. */
export function encodeCreateBucketValue(fields: Pick<CreateBucket, 'module' | 'configuration'>) {
  const { module, configuration } = fields
  return Buffer.from(configuration === '' ? module : `${module}\0${configuration}`)
}

export function decodeCreateBucket(frame: Frame): CreateBucket | undefined {
  if (frame.keyLength === 0 || frame.valueLength === 0) return undefined
  const text = frame.value().toString()
  const zero = text.indexOf('\0')
  return {
    name: frame.key().toString(),
    module: zero < 0 ? text : text.slice(0, zero),
    configuration: zero < 0 ? '' : text.slice(zero + 1),
  }
}
