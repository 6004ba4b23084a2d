/** A bucket and the model of its vbucket 0: each change is made in both. */
import { strict as assert } from 'node:assert'
import type { Test } from 'tap'
import { Status } from '../../../protocol/status.ts'
import { storing } from '../../support/bucket.ts'
import type { CollectionClient } from './collection-client.ts'
import { CollectionHistory } from './collection-history.ts'
import { openScene, until, type Scene } from './scene.ts'

export class CollectionScene {
  readonly scene: Scene
  readonly history = new CollectionHistory()

  constructor(scene: Scene) {
    this.scene = scene
  }

  set(collection: number, key: string, value: string): void {
    const { documents } = this.scene.bucket
    const request = storingIn(collection, key, value)
    assert.equal(documents.store(this.scene.vbucket(0), request), Status.success)
    this.history.set(collection, key, value)
  }

  remove(collection: number, key: string): void {
    const { documents } = this.scene.bucket
    const request = storingIn(collection, key, '')
    assert.equal(documents.remove(this.scene.vbucket(0), request), Status.success)
    this.history.remove(collection, key)
  }

  async createScope(name: string): Promise<number> {
    const { id } = await this.scene.bucket.collections.createScope(name)
    assert.equal(id, this.history.createScope(name))
    return id
  }

  async createCollection(scope: number, name: string): Promise<number> {
    const { collections } = this.scene.bucket
    const { id } = await collections.createCollection(this.history.scopes.get(scope)!, name)
    assert.equal(id, this.history.createCollection(scope, name))
    return id
  }

  async dropCollection(id: number): Promise<void> {
    const { name, scope } = this.history.collections.get(id)!
    await this.scene.bucket.collections.dropCollection(this.history.scopes.get(scope)!, name)
    this.history.dropCollection(id)
  }

  async dropScope(id: number): Promise<void> {
    await this.scene.bucket.collections.dropScope(this.history.scopes.get(id)!)
    this.history.dropScope(id)
  }

  /** Nothing is left on disk of what was dropped. */
  erased(): Promise<void> {
    const { collections } = this.scene.vbucket(0)
    return until('what was dropped is erased', () => collections.doomed.size === 0)
  }

  /** The client connects again if it has to, is given everything there is, and has what it must. */
  async complete(client: CollectionClient): Promise<void> {
    const { scene, history } = this
    if (client.link === undefined && client.over === undefined) await client.connect(scene, history)
    if (client.over === 'refused') return
    // Whoever is of nothing that is left is told so.
    const ends = history.goneAt(client.wanted) !== undefined
    await until(`${client.name} has everything`, () => {
      if (client.over === undefined) client.link!.flow(history)
      if (ends) return client.over === 'ended'
      return client.seqno === client.lastSeqno(history)
    })
    client.checkWhole(history, scene.vbucket(0).purgeSeqno)
  }
}

export async function openCollectionScene(t: Test): Promise<CollectionScene> {
  return new CollectionScene(await openScene(t))
}

function storingIn(collection: number, key: string, value: string) {
  const request = storing(key, value)
  request.key = Buffer.concat([Buffer.of(collection), Buffer.from(key)])
  request.keyLength = request.key.length
  return request
}
