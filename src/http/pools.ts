/** The pages by which clients find out about the cluster: who is in it, and each bucket's map. */
import type { FastifyInstance, FastifyRequest } from 'fastify'
import { mayUse } from '../auth/identity.ts'
import { Privilege } from '../auth/privilege.ts'
import type { Node } from '../commands/node.ts'
import type { Bucket } from '../vbucket/bucket.ts'
import { describeNode, implementationVersion } from './bucket-description.ts'
import type { MapStreams } from './map-streams.ts'
import { notFound } from './page-error.ts'

export type BucketRequest = FastifyRequest<{ Params: { bucket: string } }>

/** The bucket that a path names. */
export function bucketOf(node: Node, request: { params: { bucket: string } }): Bucket {
  const bucket = node.buckets.get(request.params.bucket)
  if (bucket === undefined) throw notFound()
  return bucket
}

/** Whoever has logged in. */
export const anybody = { config: { rights: Privilege.login } } as const
/** Who may do anything in the bucket. */
export const users = { config: { rights: 'use' } } as const

function hasAll(request: FastifyRequest): boolean {
  return (request.identity!.privilegesIn(undefined) & Privilege.admin) !== 0
}

export function addPools(fastify: FastifyInstance, node: () => Node, streams: MapStreams): void {
  fastify.get('/pools', anybody, async request => {
    node()
    const uri = '/pools/default'
    return {
      implementationVersion,
      componentsVersion: {},
      isAdminCreds: hasAll(request),
      isROAdminCreds: false,
      isEnterprise: false,
      pools: [{ name: 'default', uri, streamingUri: uri }],
    }
  })
  fastify.get('/pools/default', anybody, async request => ({
    name: 'default',
    clusterName: '',
    nodes: [describeNode(node(), request.hostname)],
    buckets: {
      uri: '/pools/default/buckets',
      terseBucketsBase: '/pools/default/b/',
      terseStreamingBucketsBase: '/pools/default/bs/',
    },
    bucketNames: node()
      .buckets.list()
      .filter(({ name }) => mayUse(request.identity!, name))
      .map(({ name, uuid }) => ({ bucketName: name, uuid: uuid.replaceAll('-', '') })),
    nodeServicesUri: '/pools/default/nodeServices',
    balanced: true,
    rebalanceStatus: 'none',
  }))
  fastify.get('/pools/default/nodeServices', anybody, async (_request, reply) =>
    reply.type('application/json').send(node().maps.global().text),
  )
  fastify.get('/pools/default/b/:bucket', users, async (request: BucketRequest, reply) => {
    const { text } = node().maps.of(bucketOf(node(), request))
    return reply.type('application/json').send(text)
  })
  fastify.get('/pools/default/bs/:bucket', users, async (request: BucketRequest, reply) => {
    const bucket = bucketOf(node(), request)
    streams.admit()
    reply.hijack()
    streams.open(reply.raw, node().maps, bucket)
  })
}
