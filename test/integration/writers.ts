import type { Test } from 'tap'
import { ClientError, KvClient, type MutationOptions } from '../../src/client/index.ts'
import type { DaemonProcess } from '../support/start-daemon.ts'

export interface WritersOptions {
  readonly clients: number
  /** Requests that each client has on their way. */
  readonly inFlight: number
  /** Of each request. */
  readonly request?: MutationOptions
  /** Keys begin with it: rounds over the same data keep to their own. */
  readonly prefix?: string
}

/** The versions of one key: a number that grows with every write; a removal counts as one. */
interface Key {
  readonly name: string
  sent: number
  acknowledged: number
}

const keysPerClient = 2_000
/** Every so many versions of a key is its removal. */
const removalEvery = 7

function isRemoval(version: number): boolean {
  return version % removalEvery === removalEvery - 1
}

/**
 * Clients that write as fast as they are answered, until their daemon goes away, and remember what
 * was acknowledged. Each key has one writer, which waits for the answer to a write before the
 * next one of that key; so afterwards the key must be as of its last acknowledged write, or of the
 * one that was on its way.
 */
export class Writers {
  readonly #keys: Key[] = []
  readonly #loops: Promise<void>[] = []
  readonly #request: MutationOptions
  #acknowledgements = 0
  #wake = () => {}

  static async start(t: Test, daemon: DaemonProcess, options: WritersOptions): Promise<Writers> {
    const writers = new Writers(options.request ?? {})
    const { port } = daemon
    for (let index = 0; index < options.clients; index++) {
      const client = await KvClient.connect({ port })
      t.teardown(() => client.destroy())
      const prefix = `${options.prefix ?? ''}${index}-`
      writers.#begin(client, prefix, options.inFlight)
    }
    return writers
  }

  private constructor(request: MutationOptions) {
    this.#request = request
  }

  /** Resolves once so many writes have been acknowledged in all. */
  async acknowledged(count: number): Promise<void> {
    while (this.#acknowledgements < count) {
      await new Promise<void>(resolve => (this.#wake = resolve))
    }
  }

  /** Resolves when the daemon is gone; fails if anything else made a writer stop. */
  async ended(): Promise<void> {
    await Promise.all(this.#loops)
  }

  /** Compares with what a later daemon holds. */
  check(documents: ReadonlyMap<string, string>): { checked: number; violations: string[] } {
    const violations = []
    for (const { name, sent, acknowledged } of this.#keys) {
      const found = documents.get(name)
      const candidates = [acknowledged, sent].map(version => contentOf(version))
      if (!candidates.includes(found)) {
        violations.push(`${name}: ${found}, acknowledged ${acknowledged}, sent ${sent}`)
      }
    }
    const checked = this.#keys.filter(({ acknowledged }) => acknowledged >= 0).length
    return { checked, violations }
  }

  #begin(client: KvClient, prefix: string, inFlight: number): void {
    const share = Math.floor(keysPerClient / inFlight)
    for (let lane = 0; lane < inFlight; lane++) {
      const keys = Array.from({ length: share }, (_, index) => ({
        name: `${prefix}${lane}-${index}`,
        sent: -1,
        acknowledged: -1,
      }))
      this.#keys.push(...keys)
      this.#loops.push(this.#writeAll(client, keys))
    }
  }

  async #writeAll(client: KvClient, keys: readonly Key[]): Promise<void> {
    for (let index = 0; ; index = (index + 1) % keys.length) {
      const key = keys[index]!
      key.sent++
      try {
        if (isRemoval(key.sent)) await client.remove(key.name, this.#request)
        else await client.set(key.name, contentOf(key.sent)!, this.#request)
      } catch (error) {
        if (error instanceof ClientError && error.code === 'HOLDFAST_CONNECTION_LOST') return
        throw error
      }
      key.acknowledged = key.sent
      this.#acknowledgements++
      this.#wake()
    }
  }
}

/** Undefined: there is no such document. */
function contentOf(version: number): string | undefined {
  return version < 0 || isRemoval(version) ? undefined : `version ${version} `.padEnd(100, '.')
}
