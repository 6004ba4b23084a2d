import type { Registry } from 'prom-client'
import type { BackupEvent, RestoreEvent } from '../backup/index.ts'
import { gaugesOf, type JobGauges } from './job-metrics.ts'

/** In the order of their values. */
const stepStates = ['', 'begun', 'done', 'skipped']

export function backupGauges(registry: Registry): JobGauges<BackupEvent> {
  const gauge = gaugesOf('backup', registry)
  const changes = gauge('changes', 'Changes taken from the stream in this run.')
  const documentBytes = gauge('document_bytes', 'Bytes of their keys and values.')
  const seqnosLeft = gauge('seqnos_left', 'How many seqnos are still to be gone through.')
  const seqnos = gauge('seqnos', 'How many there were to be gone through.')
  const vbuckets = gauge('vbuckets_open', 'Vbuckets that are being worked on.')
  const steps = gauge('step', 'Of each step: 1 begun, 2 done, 3 done by an earlier run.', ['step'])
  const made = 'What was made of vbuckets that an earlier run had begun.'
  const resumed = gauge('resumed_vbuckets', made, ['action'])
  return {
    observe(event) {
      if (event.type === 'step') steps.set({ step: event.step }, stepStates.indexOf(event.state))
      if (event.type === 'vbucket') resumed.inc({ action: event.action })
      if (event.type !== 'progress') return
      changes.set(event.records)
      documentBytes.set(event.documentBytes)
      seqnosLeft.set(event.seqnosLeft)
      seqnos.set(event.seqnosTotal)
      vbuckets.set(event.vbucketsLeft)
    },
  }
}

export function restoreGauges(registry: Registry): JobGauges<RestoreEvent> {
  const gauge = gaugesOf('restore', registry)
  const gone =
    'Changes gone through, by what became of them; with those of runs that this one goes on with.'
  const changes = gauge('changes', gone, ['result'])
  const total = gauge('changes_expected', 'Changes in the backups that are gone through.')
  const documentBytes = gauge(
    'document_bytes',
    'Bytes of keys and values gone through in this run.',
  )
  return {
    observe(event) {
      if (event.type !== 'progress') return
      for (const result of ['applied', 'skipped', 'filtered'] as const)
        changes.set({ result }, event[result])
      total.set(event.total)
      documentBytes.set(event.documentBytes)
    },
  }
}
