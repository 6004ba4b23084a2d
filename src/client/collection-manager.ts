/** Makes and drops scopes and collections, over the wire: by setting the manifest as a whole. */
import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { parseCollectionPath } from './collection-path.ts'
import {
  encodeManifest,
  type CollectionsManifest,
  type ManifestScope,
  type WantedScope,
} from './collections-manifest.ts'
import { ServerError } from './errors.ts'
import { expectSuccess } from './handshake.ts'
import type { NodeClient } from './node-client.ts'

/** So often others may come first before it is given up. */
const attemptsMax = 10

type Edit = (manifest: CollectionsManifest) => readonly WantedScope[]

/** Names of collections are `scope.collection`; each change resolves when it is in force. */
export class CollectionManager {
  readonly #client: NodeClient

  /** `client` is in the bucket; its user needs to be an admin. */
  constructor(client: NodeClient) {
    this.#client = client
  }

  manifest(): Promise<CollectionsManifest> {
    return this.#client.collectionsManifest()
  }

  /** Fails with a ServerError of status keyExists if there is one, or with a RangeError. */
  async createScope(name: string): Promise<void> {
    assertUserName(name)
    await this.#change(({ scopes }) => {
      if (scopes.some(scope => scope.name === name)) throw exists(`there is a scope ${name}`)
      return [...scopes, { name, collections: [] }]
    })
  }

  /** With the collections in it. Fails with a ServerError of status unknownScope. */
  dropScope(name: string): Promise<void> {
    return this.#change(({ scopes }) => {
      scopeNamed(scopes, name)
      return scopes.filter(scope => scope.name !== name)
    })
  }

  /** Fails with a ServerError of status keyExists or unknownScope, or with a RangeError. */
  async createCollection(path: string, { maxTtlSeconds = 0 } = {}): Promise<void> {
    assertUserName(parseCollectionPath(path).collection)
    await this.#changeCollections(path, (collections, name) => {
      if (collections.some(other => other.name === name)) {
        throw exists(`there is a collection ${path}`)
      }
      return [...collections, { name, maxTtlSeconds }]
    })
  }

  /** Fails with a ServerError of status unknownScope or unknownCollection. */
  dropCollection(path: string): Promise<void> {
    return this.#changeCollections(path, (collections, name) => {
      if (!collections.some(other => other.name === name)) {
        throw refusal(Status.unknownCollection, `there is no collection ${path}`)
      }
      return collections.filter(other => other.name !== name)
    })
  }

  async #changeCollections(
    text: string,
    edit: (collections: ManifestScope['collections'], name: string) => WantedScope['collections'],
  ): Promise<void> {
    const path = parseCollectionPath(text)
    return this.#change(({ scopes }) => {
      const changed = scopeNamed(scopes, path.scope)
      const collections = edit(changed.collections, path.collection)
      return scopes.map(scope => (scope === changed ? { ...scope, collections } : scope))
    })
  }

  /** A uid is used once: whoever comes second is refused, looks again and tries with the next. */
  async #change(edit: Edit): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      const manifest = await this.manifest()
      const value = encodeManifest({ uid: manifest.uid + 1n, scopes: edit(manifest) })
      const answer = await this.#client.request({ opcode: Opcode.setCollectionsManifest, value })
      const wasOvertaken = answer.status === Status.cannotApplyCollectionsManifest
      if (!wasOvertaken || attempt === attemptsMax) return expectSuccess(answer)
    }
  }
}

/** The server takes others, too, as they may be the system's own. */
function assertUserName(name: string): void {
  if (/^[A-Za-z0-9-][A-Za-z0-9_%-]{0,250}$/.test(name)) return
  throw new RangeError(`no name for a scope or collection: ${JSON.stringify(name)}`)
}

function scopeNamed(scopes: readonly ManifestScope[], name: string): ManifestScope {
  const scope = scopes.find(scope => scope.name === name)
  if (scope === undefined) throw refusal(Status.unknownScope, `there is no scope ${name}`)
  return scope
}

function exists(message: string): ServerError {
  return refusal(Status.keyExists, message)
}

function refusal(status: number, message: string): ServerError {
  return new ServerError(Opcode.setCollectionsManifest, status, message)
}
