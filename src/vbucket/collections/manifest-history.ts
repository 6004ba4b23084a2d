/**
 * A bucket's manifest and what must be remembered beyond it: which ids have been used. An id that
 * was dropped never comes back, since documents of the former collection may still be on disk, and
 * clients may still have them.
 */
import { Status } from '../../../protocol/status.ts'
import { StatusError } from '../../errors.ts'
import { firstId, firstManifest, idMax, parseManifest } from './manifest.ts'
import type { Manifest, NewIds } from './manifest.ts'

/** Ids that follow each other, as they mostly do: [first, last]. */
type IdRange = [number, number]

/** As it is stored. */
export interface ManifestHistoryRecord {
  manifest: object
  droppedScopes: IdRange[]
  droppedCollections: IdRange[]
}

export class ManifestHistory {
  readonly manifest: Manifest
  readonly #droppedScopes: readonly IdRange[]
  readonly #droppedCollections: readonly IdRange[]

  private constructor(
    manifest: Manifest,
    droppedScopes: readonly IdRange[],
    droppedCollections: readonly IdRange[],
  ) {
    this.manifest = manifest
    this.#droppedScopes = droppedScopes
    this.#droppedCollections = droppedCollections
  }

  static readonly first = new ManifestHistory(firstManifest, [], [])

  /** Fails when it is not what `toJSON` made. */
  static fromJSON(record: ManifestHistoryRecord): ManifestHistory {
    const { manifest, droppedScopes, droppedCollections } = record
    const parsed = parseManifest(JSON.stringify(manifest), noNewIds)
    return new ManifestHistory(parsed, droppedScopes, droppedCollections)
  }

  toJSON(): ManifestHistoryRecord {
    return {
      manifest: this.manifest.toJSON(),
      droppedScopes: [...this.#droppedScopes],
      droppedCollections: [...this.#droppedCollections],
    }
  }

  /** Ids that were never used, each call another one. */
  newIds(): NewIds {
    const { manifest } = this
    const scopes = manifest.scopes.map(({ id }) => id)
    return {
      scope: counter([...scopes, ...this.#droppedScopes.map(([, last]) => last)]),
      collection: counter([
        ...manifest.collections.keys(),
        ...this.#droppedCollections.map(([, last]) => last),
      ]),
    }
  }

  /**
   * The history with `next` as its manifest. Fails with a StatusError when that cannot follow the
   * present one.
   */
  followedBy(next: Manifest): ManifestHistory {
    const { manifest } = this
    const isSame = next.uid === manifest.uid
    if (next.uid < manifest.uid) {
      throw refused(`the uid has to be greater than ${manifest.uidText}, not ${next.uidText}`)
    }
    if (isSame && JSON.stringify(next) !== JSON.stringify(manifest)) {
      throw refused(`another manifest has the uid ${manifest.uidText}`)
    }
    for (const { id, name } of next.scopes) {
      const before = manifest.scope(id)
      if (before !== undefined && before.name !== name) {
        throw refused(`the scope ${id.toString(16)} cannot be renamed`)
      }
      if (isIn(this.#droppedScopes, id)) throw refused(`the scope uid ${id.toString(16)} was used`)
    }
    for (const { id, name, scope } of next.collections.values()) {
      const before = manifest.collection(id)
      if (before !== undefined && (before.name !== name || before.scope.id !== scope.id)) {
        throw refused(`the collection ${id.toString(16)} cannot be renamed or moved`)
      }
      if (isIn(this.#droppedCollections, id)) {
        throw refused(`the collection uid ${id.toString(16)} was used`)
      }
    }
    const scopes = manifest.scopes.filter(({ id }) => next.scope(id) === undefined)
    const collections = [...manifest.collections.keys()].filter(id => !next.collection(id))
    return new ManifestHistory(
      next,
      scopes.reduce((ranges, { id }) => withId(ranges, id), this.#droppedScopes),
      collections.reduce((ranges, id) => withId(ranges, id), this.#droppedCollections),
    )
  }
}

const noNewIds: NewIds = { scope: missing, collection: missing }

function missing(): never {
  throw new StatusError(Status.invalidArguments, 'what is stored has no uid')
}

/** Counts on from the greatest id used. */
function counter(used: number[]): () => number {
  let next = used.reduce((greatest, id) => Math.max(greatest, id), firstId - 1) + 1
  return () => {
    if (next > idMax) throw refused('there are no uids left')
    return next++
  }
}

function isIn(ranges: readonly IdRange[], id: number): boolean {
  return ranges.some(([first, last]) => first <= id && id <= last)
}

/** Ranges in their order, those that touch each other as one. */
function withId(ranges: readonly IdRange[], id: number): IdRange[] {
  const sorted = [...ranges, [id, id] as IdRange].sort(([one], [other]) => one - other)
  const joined: IdRange[] = []
  for (const [first, last] of sorted) {
    const before = joined.at(-1)
    if (before !== undefined && first <= before[1] + 1) before[1] = Math.max(before[1], last)
    else joined.push([first, last])
  }
  return joined
}

function refused(message: string): StatusError {
  return new StatusError(Status.cannotApplyCollectionsManifest, message)
}
