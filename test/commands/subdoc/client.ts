import type { Test } from 'tap'
import {
  decodeSubdocLookupResults,
  decodeSubdocMutationResults,
  encodeFeatures,
  encodeStoreExtras,
  encodeSubdocExtras,
  encodeSubdocLookups,
  encodeSubdocMultiExtras,
  encodeSubdocMutations,
  SubdocPathFlag,
  type SubdocMultiExtras,
} from '../../../protocol/commands/index.ts'
import type { Frame } from '../../../protocol/frame.ts'
import { Feature } from '../../../protocol/feature.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import type { RequestFields } from '../../../protocol/requests.ts'
import { statusName } from '../../../protocol/status.ts'
import { serve, type Served, type ServedOptions, type TestClient } from '../../server/harness.ts'

export interface More
  extends Partial<SubdocMultiExtras>, Partial<Pick<RequestFields, 'cas' | 'framing' | 'vbid'>> {
  key?: string
  /** Bits of `SubdocPathFlag`, for requests with one path. */
  pathFlags?: number
}

/** One operation of a request for several paths: opcode, path, value, path flags. */
export type Spec = readonly [
  opcode: number,
  path: string,
  value?: string | Buffer,
  pathFlags?: number,
]

const { subdocMultiLookup, subdocMultiMutation } = Opcode
const features = [Feature.xattr, Feature.xerror, Feature.json, Feature.mutationSeqno]

/** A client that speaks the sub-document commands, to the document `k` unless told otherwise. */
export class SubdocClient {
  readonly client: TestClient

  constructor(client: TestClient) {
    this.client = client
  }

  /** The status by its name, and the value if there is one. */
  static show(frame: Frame): string {
    const isError = frame.status !== 0 && statusName(frame.status) !== 'subdocSuccessDeleted'
    const value = isError ? '' : frame.value().toString()
    return value === '' ? statusName(frame.status) : `${statusName(frame.status)} ${value}`
  }

  async hello(...asked: number[]): Promise<void> {
    await this.client.call({ opcode: Opcode.hello, key: 't', value: encodeFeatures(asked) })
  }

  async set(value: string | Buffer, key = 'k', more: Partial<RequestFields> = {}): Promise<Frame> {
    const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
    return await this.client.call({ opcode: Opcode.set, key, value, extras, ...more })
  }

  async get(key = 'k'): Promise<string> {
    return SubdocClient.show(await this.client.call({ opcode: Opcode.get, key }))
  }

  async remove(key = 'k'): Promise<Frame> {
    return await this.client.call({ opcode: Opcode.delete, key })
  }

  /** One path. */
  async frame(opcode: number, path: string, value: string | Buffer = '', more: More = {}) {
    const { expiry, userFlags, docFlags, pathFlags = 0, key = 'k', ...parts } = more
    const pathBytes = Buffer.from(path)
    const pathLength = pathBytes.length
    const fields = { pathLength, pathFlags, expiry, userFlags, docFlags }
    const extras = encodeSubdocExtras(fields)
    const whole = Buffer.concat([pathBytes, Buffer.from(value)])
    return await this.client.call({ opcode, key, extras, value: whole, ...parts })
  }

  async call(opcode: number, path: string, value: string | Buffer = '', more: More = {}) {
    return SubdocClient.show(await this.frame(opcode, path, value, more))
  }

  /** One path of attributes. */
  async xattr(opcode: number, path: string, value: string | Buffer = '', more: More = {}) {
    const pathFlags = SubdocPathFlag.xattr | (more.pathFlags ?? 0)
    return await this.call(opcode, path, value, { ...more, pathFlags })
  }

  async multiFrame(opcode: number, value: Buffer, more: More): Promise<Frame> {
    const { expiry, userFlags, docFlags, pathFlags: _, key = 'k', ...parts } = more
    const extras = encodeSubdocMultiExtras({ expiry, userFlags, docFlags })
    return await this.client.call({ opcode, key, extras, value, ...parts })
  }

  /** The overall status, and the status or value of each path. */
  async lookup(specs: readonly Spec[], more: More = {}): Promise<string[]> {
    const value = encodeSubdocLookups(specs.map(specOf))
    const frame = await this.multiFrame(subdocMultiLookup, value, more)
    const results = isAnswer(frame) ? decodeSubdocLookupResults(frame)! : []
    const shown = results.map(({ status, value: found }) =>
      status === 0 ? found.toString() : statusName(status),
    )
    return [statusName(frame.status), ...shown]
  }

  /** The overall status, and `index value` or `index status` of each result. */
  async mutate(specs: readonly Spec[], more: More = {}): Promise<string[]> {
    const value = encodeSubdocMutations(specs.map(specOf))
    const frame = await this.multiFrame(subdocMultiMutation, value, more)
    const results = isAnswer(frame) ? decodeSubdocMutationResults(frame)! : []
    const shown = results.map(
      ({ index, status, value: told }) =>
        `${index} ${status === 0 ? told.toString() : statusName(status)}`,
    )
    return [statusName(frame.status), ...shown]
  }
}

/** Whether the value is results, and not the text of an error. */
function isAnswer({ status }: Frame): boolean {
  return /^(success|subdocSuccessDeleted|subdocMultiPath.*)$/.test(statusName(status))
}

function specOf([opcode, path, value = '', pathFlags = 0]: Spec) {
  return { opcode, pathFlags, path: Buffer.from(path), value: Buffer.from(value) }
}

export interface SubdocScene extends Served {
  one: SubdocClient
}

/** A server, and a client of it that has agreed on attributes, JSON and mutation tokens. */
export async function subdocScene(t: Test, options: ServedOptions = {}): Promise<SubdocScene> {
  const served = await serve(t, options)
  const one = new SubdocClient(await served.client())
  await one.hello(...features)
  return { ...served, one }
}
