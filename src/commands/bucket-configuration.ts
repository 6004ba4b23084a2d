/** The configuration in a CREATE_BUCKET: `max_vbuckets=64;max_size=104857600;flush_enabled=true`. */
import { Status } from '../../protocol/status.ts'
import { StatusError } from '../errors.ts'
import type { BucketShape } from '../vbucket/bucket-shape.ts'

const readers: Readonly<Record<string, (value: string) => Partial<BucketShape> | undefined>> = {
  max_vbuckets: value => {
    const vbuckets = Number(value)
    const isPower = Number.isInteger(Math.log2(vbuckets)) && vbuckets >= 1 && vbuckets <= 1024
    return isPower ? { vbuckets } : undefined
  },
  max_size: value => (/^\d{1,15}$/.test(value) ? { quotaBytes: Number(value) } : undefined),
  flush_enabled: value =>
    /^(true|false)$/.test(value) ? { flushEnabled: value === 'true' } : undefined,
}

/** Names that are not known are another engine's, and do not matter here. */
export function readBucketConfiguration(text: string): Partial<BucketShape> {
  const shape: Partial<BucketShape> = {}
  for (const setting of text.split(';')) {
    const [name = '', value = ''] = setting.split('=')
    if (!Object.hasOwn(readers, name)) continue
    const found = readers[name]!(value)
    if (found === undefined) {
      throw new StatusError(Status.invalidArguments, `${name} cannot be "${value}"`)
    }
    Object.assign(shape, found)
  }
  return shape
}
