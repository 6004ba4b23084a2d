/**
 * Who may come back for a snapshot.
 *
 * A client that negotiated `backfill_resume` has an identity: the name of its DCP connection, or an
 * id it chose because its connections get a new name each time. A client that did not ask and is
 * resumable by the server's default has none that lasts: it is recognised by what it presents.
 */
import { Status } from '../../../protocol/status.ts'

export type Resume =
  | { readonly kind: 'off' }
  | { readonly kind: 'name' | 'id'; readonly identity: string; readonly graceMs: number }
  | {
      readonly kind: 'presented'
      readonly graceMs: number
      /** For so long it may ask again from before what it is known to have. */
      readonly receivedGraceMs: number
    }

export interface GraceLimits {
  backfillGraceSeconds: number
  backfillGraceMaxSeconds: number
  connectionNameBytesMax: number
}

export const resumeOff: Resume = { kind: 'off' }

/** What a connection has before, or without, a `backfill_resume` control. */
export function resumeByDefault(
  settings: GraceLimits & { backfillResumeDefault: boolean; backfillReceivedGraceSeconds: number },
): Resume {
  const graceMs = graceMsOf(undefined, settings)
  if (!settings.backfillResumeDefault || graceMs === 0) return resumeOff
  const receivedGraceMs = Math.floor(settings.backfillReceivedGraceSeconds * 1000)
  return { kind: 'presented', graceMs, receivedGraceMs }
}

/**
 * How long a client may ask again from before what it is known to have. One that negotiated the
 * extension says where it is; the others were not written for it: Couchbase's Java client repeats a
 * request that a break left unanswered from where it was when it first made it.
 */
export function receivedGraceMsOf(resume: Resume): number {
  return resume.kind === 'presented' ? resume.receivedGraceMs : 0
}

/** Reads the value of the control; a refusal is one of the two statuses clients expect. */
export function parseResume(
  value: string,
  connectionName: string,
  limits: GraceLimits,
): Resume | typeof Status.invalidArguments | typeof Status.notSupported {
  if (value === 'false') return resumeOff
  const wish = value === 'true' ? {} : parseWish(value, limits)
  if (wish === undefined) return Status.invalidArguments
  const graceMs = graceMsOf(wish.grace, limits)
  // Nothing would be kept.
  if (graceMs === 0) return Status.notSupported
  return wish.id === undefined
    ? { kind: 'name', identity: connectionName, graceMs }
    : { kind: 'id', identity: wish.id, graceMs }
}

interface Wish {
  id?: string
  grace?: number
}

function parseWish(text: string, limits: GraceLimits): Wish | undefined {
  let parsed: unknown
  try {
    parsed = JSON.parse(text)
  } catch {
    return undefined
  }
  if (typeof parsed !== 'object' || parsed === null || Array.isArray(parsed)) return undefined
  const keys = Object.keys(parsed)
  if (keys.length === 0 || keys.some(key => key !== 'id' && key !== 'grace')) return undefined
  const { id, grace } = parsed as Record<string, unknown>
  if (grace !== undefined && !(typeof grace === 'number' && grace > 0)) return undefined
  if (id === undefined) return { grace: grace as number }
  if (typeof id !== 'string' || id === '') return undefined
  if (Buffer.byteLength(id) > limits.connectionNameBytesMax) return undefined
  return grace === undefined ? { id } : { id, grace: grace as number }
}

function graceMsOf(wishSeconds: number | undefined, limits: GraceLimits): number {
  // Switched off by the operator, whatever a client would like.
  if (limits.backfillGraceSeconds === 0) return 0
  const seconds = wishSeconds ?? limits.backfillGraceSeconds
  return Math.floor(Math.min(seconds, limits.backfillGraceMaxSeconds) * 1000)
}

/** Names one client of one bucket, for counting what it holds and for the log. */
export function clientOf(
  user: string,
  bucket: string,
  resume: Exclude<Resume, { kind: 'off' }>,
  connectionId: string,
): string {
  const who = resume.kind === 'presented' ? connectionId : resume.identity
  return JSON.stringify([user, bucket, resume.kind, who])
}

/**
 * Names all places of a client. Those that are recognised by what they present share theirs, for each
 * user and bucket.
 */
export function placesOf(
  user: string,
  bucket: string,
  resume: Exclude<Resume, { kind: 'off' }>,
): string {
  const who = resume.kind === 'presented' ? '' : resume.identity
  return JSON.stringify([user, bucket, resume.kind, who])
}

/**
 * Names the place where the snapshots of a vbucket are looked up. What a stream is of is part of it: a
 * snapshot that was sent in part through one filter is none for another.
 */
export function placeOf(places: string, { vbid, scope }: { vbid: number; scope: string }): string {
  return `${places} ${vbid} ${scope}`
}
