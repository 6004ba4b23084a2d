/** What a bucket's collections must be, and the system events that a vbucket lacks by that. */
import { strict as assert } from 'node:assert'
import type { Manifest } from '../../src/vbucket/collections/manifest.ts'
import type { Change, ModelVbucket } from './model.ts'

export interface ModelCollection {
  id: number
  name: string
  scope: number
  maxTtlSeconds: number
}

export interface ModelManifest {
  uid: number
  scopes: { id: number; name: string }[]
  collections: ModelCollection[]
  /** The greatest ids that were ever given. */
  lastScope: number
  lastCollection: number
}

const reserved = 7

export const firstModelManifest: ModelManifest = {
  uid: 0,
  scopes: [{ id: 0, name: '_default' }],
  collections: [{ id: 0, name: '_default', scope: 0, maxTtlSeconds: 0 }],
  lastScope: reserved,
  lastCollection: reserved,
}

/** Fails when the manifest found says anything else. */
export function checkManifest(found: Manifest, expected: ModelManifest): void {
  assert.equal(found.uid, BigInt(expected.uid))
  const scopes = found.scopes.map(({ id, name }) => ({ id, name }))
  assert.deepEqual(byId(scopes), byId(expected.scopes))
  const collections = [...found.collections.values()].map(({ id, name, scope, maxTtlSeconds }) => ({
    id,
    name,
    scope: scope.id,
    maxTtlSeconds,
  }))
  assert.deepEqual(byId(collections), byId(expected.collections))
}

function byId<Named extends { id: number }>(named: readonly Named[]): Named[] {
  return named.toSorted((one, other) => one.id - other.id)
}

/** In the order that events of one change of the manifest have. */
export type EventPhase = 'collection dropped' | 'scope made' | 'collection made' | 'scope dropped'
const phases: readonly EventPhase[] = [
  'collection dropped',
  'scope made',
  'collection made',
  'scope dropped',
]

/** Events that a vbucket lacks, by phase: each the key of a change, see `changeIn`. */
export function lackingEvents(
  vbucket: ModelVbucket,
  { scopes, collections }: ModelManifest,
): { phase: EventPhase; key: string }[] {
  const known = { scope: new Set([0]), collection: new Set([0]) }
  for (const { key, isDeletion } of vbucket.events()) {
    const [subject, id] = key.split(' ') as ['scope' | 'collection', string]
    if (isDeletion) known[subject].delete(Number(id))
    else known[subject].add(Number(id))
  }
  const wanted = {
    scope: new Set(scopes.map(({ id }) => id)),
    collection: new Set(collections.map(({ id }) => id)),
  }
  return phases.flatMap(phase => {
    const [subject, what] = phase.split(' ') as ['scope' | 'collection', string]
    const [some, others] =
      what === 'made' ? [wanted[subject], known[subject]] : [known[subject], wanted[subject]]
    return [...some].filter(id => !others.has(id)).map(id => ({ phase, key: `${subject} ${id}` }))
  })
}

/** Fails unless the change is an event that comes next. */
export function checkEvent(vbucket: ModelVbucket, change: Change, manifest: ModelManifest): void {
  const lacking = lackingEvents(vbucket, manifest)
  const next = lacking.filter(({ phase }) => phase === lacking[0]?.phase)
  const event = next.find(({ key }) => key === change.key)
  assert.ok(event, `${change.key} @${change.seqno} does not come next`)
}
