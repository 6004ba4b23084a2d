import type { BackupEvent, RestoreEvent } from '../backup/index.ts'
import type { JobEvents } from './job-report.ts'
import { countText } from './sizes.ts'

export const backupEvents: JobEvents<BackupEvent> = {
  progressOf(event) {
    if (event.type !== 'progress') return undefined
    const { records, documentBytes, seqnosLeft, seqnosTotal } = event
    const done = seqnosTotal - seqnosLeft
    return { done, total: seqnosTotal, text: countText(records, 'change'), bytes: documentBytes }
  },
  textOf(event) {
    if (event.type === 'backup') return `${event.kind} backup ${event.id}`
    if (event.type === 'note') return event.message
    if (event.type === 'vbucket') return `vbucket ${event.vbid}: ${event.action}: ${event.reason}`
    if (event.type === 'step' && event.state === 'skipped') return `step ${event.step}: done before`
    return undefined
  },
}

export const restoreEvents: JobEvents<RestoreEvent> = {
  progressOf(event) {
    if (event.type !== 'progress') return undefined
    const { applied, skipped, filtered, total, documentBytes } = event
    const done = applied + skipped + filtered
    return { done, total, text: `${done} changes`, bytes: documentBytes }
  },
  textOf: event => (event.type === 'note' ? event.message : undefined),
}
