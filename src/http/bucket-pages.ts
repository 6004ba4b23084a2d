/** The pages by which buckets are listed, made, changed, emptied and removed. */
import type { FastifyInstance } from 'fastify'
import { Status } from '../../protocol/status.ts'
import { mayUse } from '../auth/identity.ts'
import type { Node } from '../commands/node.ts'
import { StatusError } from '../errors.ts'
import { describeBucket } from './bucket-description.ts'
import { readBucketForm, type Form } from './bucket-form.ts'
import { recordAct } from './gate.ts'
import { PageError, refusedForm } from './page-error.ts'
import { anybody, bucketOf, users, type BucketRequest } from './pools.ts'

const buckets = '/pools/default/buckets'
const bucket = `${buckets}/:bucket`

/** What is refused with these statuses is refused in the words that clients look for. */
const refusals = new Map<number, (reason: string) => PageError>([
  [Status.keyExists, () => refusedForm({ name: 'Bucket with given name already exists' })],
  [Status.invalidArguments, reason => refusedForm({ name: reason })],
  [Status.temporaryFailure, reason => refusedForm({ _: reason })],
  [Status.notSupported, () => new PageError(400, { _: 'Flush is disabled for the bucket' })],
])

async function asPage<Result>(change: Promise<Result>): Promise<Result> {
  try {
    return await change
  } catch (error) {
    const refusal = error instanceof StatusError ? refusals.get(error.status) : undefined
    throw refusal?.((error as Error).message) ?? error
  }
}

export function addBucketPages(fastify: FastifyInstance, node: () => Node): void {
  fastify.get(buckets, anybody, async request =>
    node()
      .buckets.list()
      .filter(({ name }) => mayUse(request.identity!, name))
      .map(each => describeBucket(node(), each, request.hostname)),
  )
  fastify.get(bucket, users, async (request: BucketRequest) =>
    describeBucket(node(), bucketOf(node(), request), request.hostname),
  )
  fastify.post(buckets, async (request, reply) => {
    const form = (request.body ?? {}) as Form
    const { name } = form
    if (name === undefined) throw refusedForm({ name: 'Bucket name needs to be specified' })
    const shape = readBucketForm(form)
    await asPage(node().buckets.create(name, shape))
    node().log.info({ bucket: name, ...shape }, 'bucket created')
    recordAct(node().audit, request, 'bucket-created', { bucket: name })
    return reply.code(202).send()
  })
  fastify.post(bucket, async (request: BucketRequest, reply) => {
    const changed = bucketOf(node(), request)
    const shape = readBucketForm((request.body ?? {}) as Form)
    if (shape.vbuckets !== undefined && shape.vbuckets !== changed.vbucketCount) {
      throw refusedForm({ numVBuckets: 'The number of vbuckets is fixed once the bucket exists' })
    }
    changed.shape.change(shape)
    node().log.info({ bucket: changed.name, ...shape }, 'bucket changed')
    recordAct(node().audit, request, 'bucket-changed', { bucket: changed.name })
    return reply.code(200).send()
  })
  fastify.delete(bucket, async (request: BucketRequest, reply) => {
    const { name } = bucketOf(node(), request)
    await asPage(node().buckets.delete(name))
    node().log.info({ bucket: name }, 'bucket deleted')
    recordAct(node().audit, request, 'bucket-deleted', { bucket: name })
    return reply.code(200).send()
  })
  fastify.post(`${bucket}/controller/doFlush`, async (request: BucketRequest, reply) => {
    const emptied = bucketOf(node(), request)
    await asPage(emptied.flush())
    node().log.info({ bucket: emptied.name }, 'bucket flushed')
    recordAct(node().audit, request, 'bucket-flushed', { bucket: emptied.name })
    return reply.code(200).send()
  })
}
