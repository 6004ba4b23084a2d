import type { AuditEvent } from '../auth/audit.ts'
import type { Session } from './session.ts'

/** Writes down that somebody has done to a bucket what not everybody may. */
export function recordAct(session: Session, event: AuditEvent, bucket: string): void {
  session.node.audit.record(event, { bucket, user: session.user, ...session.origin })
}
