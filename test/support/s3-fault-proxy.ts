import { once } from 'node:events'
import {
  Agent,
  createServer,
  request,
  type IncomingMessage,
  type Server,
  type ServerResponse,
} from 'node:http'
import type { AddressInfo } from 'node:net'
import { seededRandom } from './faulty-proxy.ts'

export type S3Operation =
  | 'create'
  | 'part'
  | 'copy'
  | 'complete'
  | 'abort'
  | 'put'
  | 'get'
  | 'head'
  | 'remove'
  | 'list'
  | 'list-parts'
  | 'list-uploads'

export interface S3Request {
  readonly operation: S3Operation
  /** Decoded, with the bucket in front. */
  readonly path: string
  /** How many of this operation were there before. */
  readonly before: number
  /** Whose signature it carries. */
  readonly accessKey: string
}

/**
 * What is done to a request.
 *
 *   refuse       the store does not see it; the answer is this status and code
 *   lose-answer  the store does it, and the connection breaks before its answer
 *   cut          the connection breaks when half of the request went through: the store does nothing
 *   cut-answer   the store does it, and the connection breaks in the middle of its answer
 *   error-in-200 the store does it or not, and the answer is 200 with an error in its body
 *   empty-200    the store does not see it, and the answer is 200 and says nothing
 *   lie          the store does not see it, and the answer is that an upload was completed
 *   delay        the answer comes so much later
 */
export type S3Fault =
  | { readonly kind: 'refuse'; readonly status: number; readonly code: string }
  | { readonly kind: 'lose-answer' | 'cut' | 'cut-answer' | 'empty-200' | 'lie' }
  | { readonly kind: 'error-in-200'; readonly done: boolean }
  | { readonly kind: 'delay'; readonly ms: number }

/** What becomes of a request; randomness depends on the seed and on the number of the request alone. */
export type S3FaultPlan = (request: S3Request, random: () => number) => S3Fault | undefined

/** An HTTP proxy on 127.0.0.1 between a tool and its S3, which breaks what it carries, on purpose. */
export class S3FaultProxy {
  plan: S3FaultPlan
  /** By operation; those that a fault met, too. */
  readonly requests = new Map<S3Operation, number>()
  faults = 0
  readonly #target: URL
  readonly #seed: number
  readonly #server: Server
  readonly #agent = new Agent({ keepAlive: true })
  #number = 0

  static async start(target: string, plan: S3FaultPlan, seed = 1): Promise<S3FaultProxy> {
    const proxy = new S3FaultProxy(target, plan, seed)
    proxy.#server.listen(0, '127.0.0.1')
    await once(proxy.#server, 'listening')
    return proxy
  }

  private constructor(target: string, plan: S3FaultPlan, seed: number) {
    this.#target = new URL(target)
    this.plan = plan
    this.#seed = seed
    this.#server = createServer((incoming, answer) => void this.#serve(incoming, answer))
  }

  get endpoint(): string {
    return `http://127.0.0.1:${(this.#server.address() as AddressInfo).port}`
  }

  async close(): Promise<void> {
    this.#server.closeAllConnections()
    this.#server.close()
    await once(this.#server, 'close')
    this.#agent.destroy()
  }

  async #serve(incoming: IncomingMessage, answer: ServerResponse): Promise<void> {
    try {
      const random = seededRandom(this.#seed * 1_000_003 + this.#number++)
      const body = await bytesOf(incoming)
      const fault = this.plan(this.#requestOf(incoming), random)
      if (fault) this.faults++
      await this.#apply(fault, incoming, body, answer)
    } catch {
      // Whoever asked has gone away, or the store has.
      incoming.socket.destroy()
    }
  }

  async #apply(
    fault: S3Fault | undefined,
    incoming: IncomingMessage,
    body: Buffer,
    answer: ServerResponse,
  ): Promise<void> {
    if (fault?.kind === 'refuse') return send(answer, fault.status, errorText(fault.code))
    if (fault?.kind === 'empty-200') return send(answer, 200, '')
    if (fault?.kind === 'lie') return send(answer, 200, '<CompleteMultipartUploadResult/>')
    if (fault?.kind === 'cut') {
      await this.#sendHalf(incoming, body)
      incoming.socket.resetAndDestroy()
      return
    }
    if (fault?.kind === 'error-in-200' && !fault.done)
      return send(answer, 200, errorText('InternalError'))
    const { head, bytes } = await this.#forward(incoming, body)
    if (fault?.kind === 'lose-answer') {
      incoming.socket.resetAndDestroy()
      return
    }
    if (fault?.kind === 'error-in-200') return send(answer, 200, errorText('InternalError'))
    if (fault?.kind === 'delay') await new Promise(resolve => setTimeout(resolve, fault.ms))
    answer.writeHead(head.statusCode!, head.rawHeaders)
    if (fault?.kind === 'cut-answer') {
      answer.flushHeaders()
      answer.write(bytes.subarray(0, bytes.length / 2), () => incoming.socket.resetAndDestroy())
      return
    }
    answer.end(bytes)
  }

  async #forward(
    incoming: IncomingMessage,
    body: Buffer,
  ): Promise<{ head: IncomingMessage; bytes: Buffer }> {
    const outgoing = this.#request(incoming)
    outgoing.end(body)
    const [head] = (await once(outgoing, 'response')) as [IncomingMessage]
    return { head, bytes: await bytesOf(head) }
  }

  /** As a link that breaks would: the store waits for the rest, and gives up. */
  async #sendHalf(incoming: IncomingMessage, body: Buffer): Promise<void> {
    if (body.length < 2) return
    const outgoing = this.#request(incoming)
    outgoing.on('error', () => {})
    await new Promise(resolve => outgoing.write(body.subarray(0, body.length / 2), resolve))
    outgoing.destroy()
  }

  /** The headers as they came: the signature covers the host's name, too. */
  #request(incoming: IncomingMessage) {
    const { hostname, port } = this.#target
    const { method, url, headers } = incoming
    return request({ hostname, port, method, path: url, headers, agent: this.#agent })
  }

  #requestOf(incoming: IncomingMessage): S3Request {
    const url = new URL(incoming.url!, this.#target)
    const operation = operationOf(incoming, url)
    const before = this.requests.get(operation) ?? 0
    this.requests.set(operation, before + 1)
    const accessKey = /Credential=([^/]+)/.exec(incoming.headers.authorization ?? '')?.[1] ?? ''
    return { operation, path: decodeURIComponent(url.pathname), before, accessKey }
  }
}

/** The marks of operations in a request's query, and what each method means with them. */
const marked: readonly (readonly [string, Readonly<Record<string, S3Operation>>])[] = [
  ['uploadId', { GET: 'list-parts', POST: 'complete', DELETE: 'abort', PUT: 'part' }],
  ['uploads', { GET: 'list-uploads', POST: 'create' }],
  ['list-type', { GET: 'list' }],
]
const unmarked: Readonly<Record<string, S3Operation>> = {
  GET: 'get',
  HEAD: 'head',
  PUT: 'put',
  DELETE: 'remove',
}

function operationOf({ method, headers }: IncomingMessage, url: URL): S3Operation {
  const byMethod = marked.find(([name]) => url.searchParams.has(name))?.[1] ?? unmarked
  const operation = byMethod[method!]
  if (operation === undefined) throw new Error(`${method} ${url.pathname} is nothing of S3's`)
  return operation === 'part' && headers['x-amz-copy-source'] !== undefined ? 'copy' : operation
}

function send(answer: ServerResponse, status: number, text: string): void {
  answer.writeHead(status, { 'content-type': 'application/xml' })
  answer.end(text)
}

function errorText(code: string): string {
  return `<?xml version="1.0" encoding="UTF-8"?><Error><Code>${code}</Code></Error>`
}

async function bytesOf(stream: AsyncIterable<unknown>): Promise<Buffer> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(chunk as Buffer)
  return Buffer.concat(chunks)
}
