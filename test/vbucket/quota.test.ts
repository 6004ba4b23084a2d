/** What the quota of a bucket counts, and what it refuses. */
import { strict as assert } from 'node:assert'
import fc from 'fast-check'
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { VbucketState } from '../../protocol/vbucket-state.ts'
import { RecordKind } from '../../src/storage/record.ts'
import type { Bucket } from '../../src/vbucket/bucket.ts'
import { StoreRequest } from '../../src/vbucket/store-request.ts'
import { Quota } from '../../src/vbucket/quota.ts'
import type { Vbucket } from '../../src/vbucket/vbucket.ts'
import { ManualClock } from '../dcp/support/manual-clock.ts'
import { seedOf } from '../resume/seed.ts'
import { committed, openBuckets } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'

t.test('whatever is admitted keeps to the limit, and what shrinks is always admitted', t => {
  const change = fc.record({ bytes: fc.nat(150), replaced: fc.nat(150) })
  fc.assert(
    fc.property(fc.nat(300), fc.array(change), (limitBytes, changes) => {
      const quota = new Quota(limitBytes)
      for (const { bytes, replaced } of changes) {
        const replacedBytes = Math.min(replaced, quota.usedBytes)
        const status = quota.admit(bytes, replacedBytes)
        if (bytes <= replacedBytes && status !== Status.success) return false
        if (status === Status.success) quota.usedBytes += bytes - replacedBytes
        if (limitBytes > 0 && quota.usedBytes > limitBytes) return false
        if (status === Status.tooLarge && bytes <= limitBytes) return false
        if (status === Status.temporaryFailure && bytes > limitBytes) return false
      }
      return true
    }),
    { seed: seedOf(t) },
  )
  t.end()
})

const keys = ['a', 'key', 'a key of some length']
const vbids = [0, 1]
/** Documents of this size and more are stored compressed by a client that sends them so. */
const value = fc.oneof(fc.string({ maxLength: 40 }), fc.constant('x'.repeat(700)))

type Step =
  | { kind: 'store'; mode: 'set' | 'add'; value: string; expiry: number }
  | { kind: 'append' | 'rewrite' | 'withMeta'; value: string }
  | { kind: 'remove' | 'touch' | 'get' }
  | { kind: 'pass' | 'commit' | 'compact' | 'vbucket' | 'flush' | 'collection' | 'reopen' }

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 8, arbitrary: storeStep() },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constantFrom('append', 'rewrite', 'withMeta'), value }),
  },
  { weight: 4, arbitrary: fc.record({ kind: fc.constantFrom('remove', 'touch', 'get') }) },
  {
    weight: 3,
    arbitrary: fc.record({
      kind: fc.constantFrom(
        'pass',
        'commit',
        'compact',
        'vbucket',
        'flush',
        'collection',
        'reopen',
      ),
    }),
  },
)

function storeStep(): fc.Arbitrary<Step> {
  return fc.record({
    kind: fc.constant('store'),
    mode: fc.constantFrom('set', 'add'),
    value,
    expiry: fc.constantFrom(0, 0, 500),
  })
}

/** A step, and which document it is about. */
const aimed = fc.record({
  step,
  vbid: fc.constantFrom(...vbids),
  key: fc.constantFrom(...keys),
  collection: fc.nat(2),
})
type Aimed = typeof aimed extends fc.Arbitrary<infer Value> ? Value : never

/** Nothing is left of a document without a value. */
function kindOf(value: Buffer): RecordKind {
  return value.length === 0 ? RecordKind.deletion : RecordKind.mutation
}

/** Looks at every document there can be, and adds up what lives. */
class Scene {
  readonly #t: Test
  readonly #directory: string
  readonly #clock = new ManualClock()
  #open: Awaited<ReturnType<typeof openBuckets>> | undefined
  /** Ids, of which the first stays. */
  #collections = [0]

  constructor(t: Test, directory: string) {
    this.#t = t
    this.#directory = directory
  }

  get bucket(): Bucket {
    return this.#open!.bucket
  }

  async open(): Promise<void> {
    const settings = { vbuckets: vbids.length, purgeAgeSeconds: 0, detectJson: false }
    this.#open = await openBuckets(this.#t, this.#directory, { settings, clock: this.#clock })
  }

  async close(): Promise<void> {
    await this.#open!.buckets.close()
  }

  async take({ step, vbid, key, collection }: Aimed): Promise<void> {
    const { bucket } = this
    const { documents } = bucket
    const vbucket = bucket.vbucket(vbid)!
    const request = new StoreRequest()
    const id = this.#collections[collection % this.#collections.length]!
    request.key = Buffer.concat([Buffer.of(id), Buffer.from(key)])
    request.keyLength = request.key.length
    if ('value' in step) {
      request.value = Buffer.from(step.value)
      request.valueLength = request.value.length
    }
    const place = [vbucket, request.key, 0, request.keyLength] as const
    if (step.kind === 'store') {
      documents.store(vbucket, Object.assign(request, { mode: step.mode, expiry: step.expiry }))
    } else if (step.kind === 'append') documents.concatenate(vbucket, request, 'append')
    else if (step.kind === 'rewrite') this.#rewrite(vbucket, request)
    else if (step.kind === 'withMeta') this.#writeWithMeta(vbucket, request)
    else if (step.kind === 'remove') documents.remove(vbucket, request)
    else if (step.kind === 'touch') documents.touch(...place, 600)
    else if (step.kind === 'get') documents.get(...place)
    else await this.#manage(step.kind, vbid)
  }

  #rewrite(vbucket: Vbucket, request: StoreRequest): void {
    const { value } = request
    const change = { kind: kindOf(value), value, systemXattrBytes: 0, datatype: 0, flags: 0 }
    const nowSeconds = Math.floor(this.#clock.nowMs() / 1000)
    const time = change.kind === RecordKind.mutation ? 0 : nowSeconds
    this.bucket.rewriter.write(vbucket, request, { ...change, time })
  }

  #writeWithMeta(vbucket: Vbucket, request: StoreRequest): void {
    const { key, keyStart, keyLength, value, valueStart, valueLength } = request
    const content = { key, keyStart, keyLength, value, valueStart, valueLength }
    const meta = { datatype: 0, flags: 0, time: 0, revno: 5, cas: 7n, expectedCas: 0n }
    const how = { isAdd: false, skipConflictResolution: true, regenerateCas: false }
    const kind = kindOf(value)
    this.bucket.metaWriter.write(vbucket, { kind, ...content, ...meta, ...how })
  }

  async #manage(kind: Step['kind'], vbid: number): Promise<void> {
    const { bucket } = this
    if (kind === 'pass') this.#clock.advance(1_000_000)
    else if (kind === 'commit') await committed(bucket)
    else if (kind === 'flush') await bucket.flush()
    else if (kind === 'reopen') {
      await this.close()
      await this.open()
    } else if (kind === 'compact') {
      const request = { purgeBeforeSeconds: 0, purgeBeforeSeqno: 0, dropDeletes: true }
      await bucket.compact(vbid, request)
    } else if (kind === 'vbucket') {
      const gone = bucket.deleteVbucket(vbid)
      await bucket.setState(vbid, VbucketState.active)
      await gone
    } else await this.#changeCollections()
  }

  /** There is one besides the default one, or two, or none. */
  async #changeCollections(): Promise<void> {
    const { collections } = this.bucket
    if (this.#collections.length < 3) {
      const { id } = await collections.createCollection('_default', `c${collections.manifest.uid}`)
      this.#collections.push(id)
      return
    }
    for (const id of this.#collections.splice(1)) {
      await collections.dropCollection('_default', collections.manifest.collection(id)!.name)
    }
  }

  /** Whether everything that counts counts what is there. */
  assertCounted(): void {
    const { bucket } = this
    let total = 0
    for (const vbid of vbids) {
      const vbucket = bucket.vbucket(vbid)!
      let ofVbucket = 0
      for (const id of this.#collections) {
        const found = { items: 0, bytes: 0 }
        for (const key of keys) {
          const bytes = Buffer.concat([Buffer.of(id), Buffer.from(key)])
          const record = bucket.documents.getMeta(vbucket, bytes, 0, bytes.length)
          if (record === undefined || record.isDeletion) continue
          found.items++
          found.bytes += bytes.length + record.valueLength
        }
        const { items, bytes } = vbucket.heldBy(id)
        assert.deepEqual({ items, bytes }, found, `vbucket ${vbid}, collection ${id}`)
        ofVbucket += found.bytes
      }
      assert.equal(vbucket.documentBytes, ofVbucket)
      total += ofVbucket
    }
    assert.equal(bucket.shape.quota.usedBytes, total)
  }
}

t.test('what is counted is what a recount finds, whatever has been done', async t => {
  let run = 0
  const property = fc.asyncProperty(
    fc.array(aimed, { minLength: 60, maxLength: 100 }),
    fc.constantFrom(0, 0, 1500),
    async (steps, quotaBytes) => {
      const directory = `${t.testdirName}/${run++}`
      const scene = new Scene(t, directory)
      await scene.open()
      scene.bucket.shape.change({ quotaBytes })
      for (const each of steps) {
        await scene.take(each)
        scene.assertCounted()
        const { usedBytes } = scene.bucket.shape.quota
        assert.ok(quotaBytes === 0 || usedBytes <= quotaBytes)
      }
      await scene.close()
      assert.deepEqual(await checkStore(directory), [])
      await scene.open()
      scene.assertCounted()
      await scene.close()
    },
  )
  t.testdir()
  await fc.assert(property, { seed: seedOf(t), numRuns: 5 })
})
