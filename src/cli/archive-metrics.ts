import type { Registry } from 'prom-client'
import type { MergeEvent, RemoveEvent, VerifyEvent } from '../backup/index.ts'
import { gaugesOf, type JobGauges } from './job-metrics.ts'

export function verifyGauges(registry: Registry): JobGauges<VerifyEvent> {
  const gauge = gaugesOf('verify', registry)
  const damages = gauge('damages', 'What is not as it should be.')
  const changes = gauge('changes', 'Changes that were read.')
  const bytesRead = gauge('read_bytes', 'Bytes of the objects that were read.')
  const bytes = gauge('bytes', 'Bytes of the objects that were looked at, read or not.')
  const total = gauge('bytes_expected', 'Bytes of the objects that are to be looked at.')
  return {
    observe(event) {
      if (event.type === 'damage') damages.inc()
      if (event.type !== 'progress') return
      changes.set(event.records)
      bytesRead.set(event.bytesRead)
      bytes.set(event.bytes)
      total.set(event.bytesTotal)
    },
  }
}

export function mergeGauges(registry: Registry): JobGauges<MergeEvent> {
  const gauge = gaugesOf('merge', registry)
  const vbuckets = gauge('vbuckets', 'Vbuckets that are merged.')
  const vbucketsTotal = gauge('vbuckets_expected', 'Vbuckets that are to be merged.')
  const bytes = gauge('bytes', 'Bytes of objects that were read, some of them more than once.')
  const bytesTotal = gauge('bytes_expected', 'Bytes that are to be read.')
  return {
    observe(event) {
      if (event.type !== 'progress') return
      vbuckets.set(event.vbuckets)
      vbucketsTotal.set(event.vbucketsTotal)
      bytes.set(event.bytes)
      bytesTotal.set(event.bytesTotal)
    },
  }
}

export function removeGauges(registry: Registry): JobGauges<RemoveEvent> {
  const gauge = gaugesOf('remove', registry)
  const objects = gauge('objects', 'Objects that were removed.')
  const bytes = gauge('bytes', 'Their bytes.')
  return {
    observe(event) {
      if (event.type !== 'progress') return
      objects.set(event.objects)
      bytes.set(event.bytes)
    },
  }
}
