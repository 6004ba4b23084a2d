/**
 * The pages by which scopes and collections are listed, made, changed and dropped, with the words
 * that clients tell one refusal from another by.
 */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { Status } from '../../protocol/status.ts'
import type { AuditEvent } from '../auth/audit.ts'
import type { Node } from '../commands/node.ts'
import { StatusError } from '../errors.ts'
import type { Collections, ManifestChange } from '../vbucket/collections/collections.ts'
import type { Form } from './bucket-form.ts'
import { readCollectionWishes, readName, readScopes, readValidOnUid } from './collection-form.ts'
import { recordAct } from './gate.ts'
import { PageError, refusedForm } from './page-error.ts'
import { bucketOf, users } from './pools.ts'

const scopes = '/pools/default/buckets/:bucket/scopes'
const scope = `${scopes}/:scope`
const collections = `${scope}/collections`
const collection = `${collections}/:collection`

/** 1,200 scopes and as many collections with the longest names, and as much again. */
const manifestBytesMax = 2 * 1024 * 1024

interface Params {
  bucket: string
  scope: string
  collection: string
}
type Request = FastifyRequest<{ Params: Params }>

/** What a page is about; a scope alone has no collection. */
interface Subject {
  scope: string
  collection?: string
}

/** A page that changes the manifest. */
interface Page {
  readonly method: 'POST' | 'PATCH' | 'DELETE'
  readonly url: string
  readonly event: AuditEvent
  readonly subject: (request: Request) => Subject
  readonly change: (
    collections: Collections,
    subject: Subject,
    form: Form,
  ) => Promise<ManifestChange>
}

const formOf = (request: Request): Form => (request.body ?? {}) as Form
const scopeInPath = ({ params }: Request) => ({ scope: params.scope })
const collectionInPath = ({ params }: Request) => ({
  scope: params.scope,
  collection: params.collection,
})

const pages: readonly Page[] = [
  {
    method: 'POST',
    url: scopes,
    event: 'scope-created',
    subject: request => ({ scope: readName(formOf(request)) }),
    change: (collections, { scope }) => collections.createScope(scope),
  },
  {
    method: 'DELETE',
    url: scope,
    event: 'scope-dropped',
    subject: scopeInPath,
    change: (collections, { scope }) => collections.dropScope(scope),
  },
  {
    method: 'POST',
    url: collections,
    event: 'collection-created',
    subject: request => ({ ...scopeInPath(request), collection: readName(formOf(request)) }),
    change: (collections, { scope, collection }, form) =>
      collections.createCollection(scope, collection!, readCollectionWishes(form)),
  },
  {
    method: 'PATCH',
    url: collection,
    event: 'collection-changed',
    subject: collectionInPath,
    change: (collections, { scope, collection }, form) =>
      collections.changeCollection(scope, collection!, readCollectionWishes(form)),
  },
  {
    method: 'DELETE',
    url: collection,
    event: 'collection-dropped',
    subject: collectionInPath,
    change: (collections, { scope, collection }) => collections.dropCollection(scope, collection!),
  },
]

export function addCollectionPages(fastify: FastifyInstance, node: () => Node): void {
  fastify.get(scopes, users, async (request: Request) =>
    bucketOf(node(), request).collections.manifest.toJSON(),
  )
  for (const { method, url, event, subject, change } of pages) {
    fastify.route({
      method,
      url,
      handler: async (request: Request) => {
        const { name: bucket, collections } = bucketOf(node(), request)
        const about = subject(request)
        const { uid } = await asPage(about, change(collections, about, formOf(request)))
        const manifest = uid.toString(16)
        node().log.info({ bucket, ...about, manifest }, event.replace('-', ' '))
        recordAct(node().audit, request, event, { bucket, ...about })
        return { uid: manifest }
      },
    })
  }
  // JSON, by whatever type it is called: a scope of its own, as other pages take forms.
  void fastify.register(async manifests => {
    manifests.removeAllContentTypeParsers()
    manifests.addContentTypeParser('*', { parseAs: 'string' }, (_request, body, done) => {
      done(null, body)
    })
    manifests.put(scopes, { bodyLimit: manifestBytesMax }, (request: Request) =>
      replaceAll(node(), request),
    )
  })
  // Clients of a cluster wait for all of its nodes. Here, what has been answered is in force.
  fastify.post(`${scopes}/@ensureManifest/:uid`, async (request, reply) => {
    const { bucket, uid } = request.params as { bucket: string; uid: string }
    if (!/^[0-9a-f]{1,16}$/i.test(uid)) throw refusedForm({ _: 'Invalid UID' })
    const { manifest } = bucketOf(node(), { params: { bucket } }).collections
    if (manifest.uid < BigInt(`0x${uid}`)) return reply.code(504).send('timeout')
    return reply.code(200).send()
  })
}

/** Everything that there is to be; what is not named is dropped. */
async function replaceAll(node: Node, request: Request): Promise<{ uid: string }> {
  const { name: bucket, collections } = bucketOf(node, request)
  const { validOnUid } = request.query as { validOnUid?: unknown }
  const scopes = readScopes((request.body ?? '') as string)
  const change = collections.replace(scopes, readValidOnUid(validOnUid))
  const uid = await asPage({ scope: '' }, change)
  const manifest = uid.toString(16)
  node.log.info({ bucket, manifest }, 'collections set')
  recordAct(node.audit, request, 'collections-set', { bucket })
  return { uid: manifest }
}

/** What is refused with these statuses is refused in the words that clients look for. */
const refusals = new Map<number, (subject: Subject, reason: string) => PageError>([
  [
    Status.keyExists,
    about => refusedForm({ _: `${named(about, about.collection !== undefined)} already exists` }),
  ],
  [Status.unknownScope, about => missing(`${named(about, false)} is not found`)],
  [Status.unknownCollection, about => missing(`${named(about, true)} is not found`)],
  [Status.invalidArguments, (_about, reason) => refusedForm({ _: reason })],
  [
    Status.cannotApplyCollectionsManifest,
    () => refusedForm({ _: "validOnUid doesn't match the current manifest Uid" }),
  ],
])

async function asPage<Result>(about: Subject, change: Promise<Result>): Promise<Result> {
  try {
    return await change
  } catch (error) {
    const refusal = error instanceof StatusError ? refusals.get(error.status) : undefined
    throw refusal?.(about, (error as Error).message) ?? error
  }
}

function named({ scope, collection }: Subject, isCollection: boolean): string {
  const text = (name: string | undefined) => JSON.stringify(name)
  if (!isCollection) return `Scope with name ${text(scope)}`
  return `Collection with name ${text(collection)} in scope ${text(scope)}`
}

function missing(message: string): PageError {
  return new PageError(404, { errors: { _: message } })
}
