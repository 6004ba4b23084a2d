/**
 * Who may see a page: the same users as on the other ports, by basic authentication or, by TLS, by a
 * certificate. What a page needs is said where it is added, as `config: { rights }`; one that says
 * nothing is for admins.
 */
import { TLSSocket } from 'node:tls'
import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Access } from '../auth/access.ts'
import type { AuditEvent, AuditLog, Origin } from '../auth/audit.ts'
import { mayUse, type Identity } from '../auth/identity.ts'
import { Privilege } from '../auth/privilege.ts'
import { certifiedUser } from '../server/certified-user.ts'

/**
 * `open`: everybody; `use`: who may do anything in the bucket that the path has as `:bucket`;
 * otherwise all of these bits of `Privilege`.
 */
export type Rights = 'open' | 'use' | number

declare module 'fastify' {
  interface FastifyContextConfig {
    rights?: Rights
  }
  interface FastifyRequest {
    /** Who asks; undefined on pages that are open. */
    identity?: Identity
  }
}

const credentialsPattern = /^Basic +([A-Za-z\d+/=]+) *$/i

export class Gate {
  readonly #access: () => Access | undefined

  /** `access` is undefined while the daemon starts. */
  constructor(access: () => Access | undefined) {
    this.#access = access
  }

  /** Answers in place of the page if whoever asks may not see it. */
  async check(request: FastifyRequest, reply: FastifyReply): Promise<unknown> {
    const { rights = Privilege.admin } = request.routeOptions.config
    if (rights === 'open' || request.is404) return undefined
    const access = this.#access()
    if (access === undefined) return reply.code(503).send({ error: 'starting' })
    const identity = access.isOpen ? access.stranger : await identify(access, request)
    if (identity === undefined) {
      const challenge = 'Basic realm="holdfast", charset="UTF-8"'
      reply.code(401).header('www-authenticate', challenge)
      return reply.send({ error: 'a user and a password are needed' })
    }
    request.identity = identity
    const { bucket } = (request.params ?? {}) as { bucket?: string }
    if (has(identity, rights, bucket)) return undefined
    access.denied(identity, originOf(request), { page: `${request.method} ${request.url}` })
    return reply.code(403).send({ message: 'Forbidden. Your roles do not include this page.' })
  }
}

/** What somebody has done something to. */
export interface ActedOn {
  readonly bucket: string
  readonly scope?: string
  readonly collection?: string
}

/** Writes down what somebody has done to a bucket that not everybody may. */
export function recordAct(
  audit: AuditLog,
  request: FastifyRequest,
  event: AuditEvent,
  what: ActedOn,
): void {
  audit.record(event, { ...what, user: request.identity?.name, ...originOf(request) })
}

function has(identity: Identity, rights: Exclude<Rights, 'open'>, bucket = ''): boolean {
  if (rights === 'use') return mayUse(identity, bucket)
  return (rights & ~identity.privilegesIn(bucket)) === 0
}

function originOf(request: FastifyRequest): Origin {
  return { address: request.ip, via: request.protocol === 'https' ? 'https' : 'http' }
}

/** By a password or, where none is shown, by the certificate of the connection. */
async function identify(access: Access, request: FastifyRequest): Promise<Identity | undefined> {
  if (request.headers.authorization !== undefined) return identifyByPassword(access, request)
  const { socket } = request.raw
  if (!(socket instanceof TLSSocket)) return undefined
  const user = certifiedUser(socket, access, originOf(request))
  return typeof user === 'string' ? undefined : user
}

/** The name ends with the first colon; whatever follows is the password. */
async function identifyByPassword(
  access: Access,
  request: FastifyRequest,
): Promise<Identity | undefined> {
  const match = credentialsPattern.exec(request.headers.authorization ?? '')
  const credentials = match === null ? '' : Buffer.from(match[1]!, 'base64').toString()
  const colon = credentials.indexOf(':')
  if (colon <= 0) return undefined
  const [user, password] = [credentials.slice(0, colon), credentials.slice(colon + 1)]
  return access.checkPassword(user, password, originOf(request))
}
