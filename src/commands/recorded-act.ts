import type { AuditEvent } from '../auth/audit.ts'
import type { Session } from './session.ts'

/** Writes down that somebody has done to a bucket what not everybody may; `more` says to which part. */
export function recordAct(
  session: Session,
  event: AuditEvent,
  bucket: string,
  more: { readonly vbid?: number; readonly state?: number } = {},
): void {
  session.node.audit.record(event, { bucket, ...more, user: session.user, ...session.origin })
}
