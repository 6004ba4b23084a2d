import type { HeldSnapshot } from '../../../src/dcp/parking/held-snapshot.ts'
import { SharedReference } from '../../../src/dcp/parking/shared-reference.ts'
import type { SnapshotReference } from '../../../src/storage/snapshot.ts'
import type { Bucket } from '../../../src/vbucket/bucket.ts'

export interface FakeHold {
  seqno: number
  deadlineMs: number
  durable: boolean
  lapsesAtMs: number | null
}

/** What the parking lot touches of a bucket: its purge holds and its pinned snapshots. */
export class FakeBucket {
  readonly name = 'default'
  readonly purgeHolds = new Map<string, FakeHold>()
  /** Snapshots that somebody still references. */
  readonly pinned = new Map<number, { environment: number; bytes: number }>()
  /** Of every vbucket. */
  highSeqno = 0
  #next = 1

  readonly holds = {
    set: (
      vbid: number,
      holder: string,
      seqno: number,
      deadlineMs: number,
      durable: boolean,
      _graceMs?: number,
      lapsesAtMs: number | null = null,
    ) => {
      this.purgeHolds.set(`${vbid} ${holder}`, { seqno, deadlineMs, durable, lapsesAtMs })
    },
    of: (vbid: number, holder: string) => this.purgeHolds.get(`${vbid} ${holder}`),
    release: (vbid: number, holder: string) => void this.purgeHolds.delete(`${vbid} ${holder}`),
  }

  readonly snapshots = {
    pinnedBytes: () => [...this.pinned.values()].reduce((sum, { bytes }) => sum + bytes, 0),
    heldBytes: () => {
      const held = [0, 0]
      for (const { environment, bytes } of this.pinned.values()) held[environment]! += bytes
      return held
    },
    environmentOf: (vbid: number) => vbid % 2,
    pinnedIn: (environment: number) =>
      [...this.pinned.values()].filter(pin => pin.environment === environment).length,
    pins: () =>
      [...this.pinned].map(([snapshotId, { environment }]) => ({
        snapshotId,
        environment,
        references: 1,
        ageMs: 0,
        holders: [],
      })),
  }

  vbucket(): { highSeqno: number } {
    return { highSeqno: this.highSeqno }
  }

  get asBucket(): Bucket {
    return this as unknown as Bucket
  }

  pin(vbid: number, persistedSeqno: number, bytes = 0, environment = 0): SharedReference {
    const snapshotId = this.#next++
    this.pinned.set(snapshotId, { environment, bytes })
    const snapshot: SnapshotReference = {
      snapshotId,
      vbid,
      persistedSeqno,
      purgeSeqno: 0,
      defaultSeqno: persistedSeqno,
      pinnedAtMs: 0,
      scan: () => {
        throw new Error('nothing to read here')
      },
      release: () => void this.pinned.delete(snapshotId),
    }
    return new SharedReference(snapshot)
  }

  held(fields: Partial<HeldSnapshot> = {}): HeldSnapshot {
    const client = fields.client ?? 'client'
    const vbid = fields.vbid ?? 0
    const snapshotEnd = fields.snapshotEnd ?? 100
    return {
      client,
      place: `${client} ${vbid}`,
      bucket: this.asBucket,
      vbid,
      slot: vbid,
      activeOnly: false,
      uuid: 7n,
      snapshotStart: 0,
      snapshotEnd,
      purgeSeqno: 0,
      reference: fields.reference ?? this.pin(vbid, snapshotEnd),
      purgeHolder: client,
      sentBytes: 0,
      sentSeqno: 0,
      knownSeqno: 0,
      parkedAtMs: undefined,
      receivedAtMs: undefined,
      deadlineMs: 0,
      onTaken: undefined,
      parkNow: undefined,
      ...fields,
    }
  }
}
