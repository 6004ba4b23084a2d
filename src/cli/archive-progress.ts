import type { MergeEvent, RemoveEvent, VerifyEvent } from '../backup/index.ts'
import type { JobEvents } from './job-report.ts'
import { countText } from './sizes.ts'

export const verifyEvents: JobEvents<VerifyEvent> = {
  progressOf(event) {
    if (event.type !== 'progress') return undefined
    const { records, bytesRead, bytes, bytesTotal } = event
    return { done: bytes, total: bytesTotal, text: countText(records, 'change'), bytes: bytesRead }
  },
  textOf: event => (event.type === 'note' ? event.message : undefined),
  resultOf: event => (event.type === 'damage' ? `DAMAGED ${event.message}` : undefined),
}

export const mergeEvents: JobEvents<MergeEvent> = {
  progressOf(event) {
    if (event.type !== 'progress') return undefined
    const { vbuckets, vbucketsTotal, bytes, bytesTotal } = event
    const text = `${vbuckets} of ${vbucketsTotal} vbuckets`
    return { done: bytes, total: bytesTotal, text, bytes }
  },
  textOf(event) {
    if (event.type === 'merge') return `merging ${event.backups.join(', ')}`
    return event.type === 'note' ? event.message : undefined
  },
}

export const removeEvents: JobEvents<RemoveEvent> = {
  progressOf(event) {
    if (event.type !== 'progress') return undefined
    const { objects, bytes } = event
    return { done: objects, total: undefined, text: countText(objects, 'object'), bytes }
  },
  textOf: event => (event.type === 'note' ? event.message : undefined),
}
