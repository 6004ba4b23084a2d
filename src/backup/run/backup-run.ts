import { manifestJson, type SavedPosition } from '../../client/index.ts'
import type { Timer } from '../../clock.ts'
import { collectionsSchema, encodeDocument, type BackupDocument } from '../archive/documents.ts'
import { BackupFile } from '../archive/layout.ts'
import { BackupError } from '../errors.ts'
import { pause } from '../pause.ts'
import type { BackupContext } from './context.ts'
import {
  commit,
  completeUploads,
  putManifest,
  readManifest,
  sweep,
  type StoredManifest,
} from './finishing-steps.ts'
import {
  stepNames,
  type Checkpoint,
  type Journal,
  type Journals,
  type PackJournal,
  type Plan,
  type StepName,
} from './journal.ts'
import type { RunState } from './run-state.ts'
import type { Staging } from './staging.ts'
import { streamChanges, type StreamStep } from './stream-step.ts'
import { untilStopped } from '../until-stopped.ts'

const checkpointIntervalMs = 30_000
/** What a backup that is stopped waits for parts that are on their way; and for its last checkpoint. */
const stopGraceMs = 500
const lastCheckpointMs = 200
/** How often in one run what the store has lost is streamed again. */
const lossesMax = 3

export type StreamSettings = Pick<StreamStep, 'source' | 'node' | 'name' | 'log'>

/**
 * One run of a backup: the steps that are not done yet, in their order. What is done is said in the
 * staging folder and in a checkpoint in the archive; either of them is enough to go on from.
 *
 * ```
 * stream -> complete -> manifest -> sweep -> commit
 * ```
 *
 * No upload is completed while there is a stream, as what is completed cannot be added to. From
 * `complete` on, a run needs nothing of the bucket.
 */
export class BackupRun {
  readonly #context: BackupContext
  readonly #staging: Staging
  readonly #journals: Journals
  readonly #openStream: (plan: Plan) => Promise<StreamSettings>
  #plan: Plan
  #document: BackupDocument | undefined
  /** Put by this run. */
  #manifest: StoredManifest | undefined
  /** One after the other: an older one must not come last, nor one behind the end. */
  #checkpointing: Promise<void> = Promise.resolve()
  #timer: Timer | undefined
  #gaveUp = false
  #losses = 0

  constructor(
    context: Omit<BackupContext, 'keepJournal' | 'keepPack'>,
    staging: Staging,
    state: RunState,
    openStream: (plan: Plan) => Promise<StreamSettings>,
  ) {
    this.#context = {
      ...context,
      keepJournal: journal => this.#keepJournal(journal),
      keepPack: journal => this.#keepPack(journal),
    }
    this.#staging = staging
    // Behind the sweep a crash may leave something, too, and power that is cut brings back what was
    // removed: it is swept again.
    const steps = state.plan.steps.filter(step => step !== 'sweep')
    this.#plan = { ...state.plan, version: 2, runs: state.plan.runs + 1, steps }
    this.#journals = state.journals
    this.#openStream = openStream
  }

  /** Stopped while something was on its way to the store, which may still arrive. */
  get gaveUp(): boolean {
    return this.#gaveUp
  }

  /** `verify` is asked before the backup is made a complete one. */
  async run(verify: () => Promise<void>): Promise<BackupDocument> {
    const { report, clock, signal } = this.#context
    await this.#staging.writePlan(this.#plan)
    await this.#putCheckpoint()
    this.#timer = clock.every(checkpointIntervalMs, () => this.#checkpointSoon())
    try {
      for (const step of this.#plan.steps) report({ type: 'step', step, state: 'skipped' })
      for (let step = this.#next(); step; step = this.#next()) {
        signal.throwIfAborted()
        report({ type: 'step', step, state: 'begun' })
        if (step === 'commit') await verify()
        const onGivenUp = () => (this.#gaveUp = true)
        await untilStopped(this.#steps[step](), { signal, clock, graceMs: stopGraceMs, onGivenUp })
        report({ type: 'step', step, state: 'done' })
        if (step === 'commit') break
      }
    } catch (error) {
      // For whoever loses the staging folder before the resume; this one has it anyway.
      const last = this.#putCheckpoint().catch(() => {})
      await (signal.aborted ? Promise.race([last, pause(clock, lastCheckpointMs)]) : last)
      throw error
    } finally {
      this.#timer.cancel()
    }
    await this.#checkpointing
    return this.#document!
  }

  readonly #steps: Readonly<Record<StepName, () => Promise<void>>> = {
    stream: () => this.#stream(),
    complete: () => this.#complete(),
    manifest: async () => {
      this.#manifest = await putManifest(this.#context, this.#journals, this.#plan)
      await this.#done('manifest')
    },
    sweep: async () => {
      // None may be on its way: what is half there is swept.
      this.#timer?.cancel()
      await this.#checkpointing
      await sweep(this.#context, await this.#storedManifest())
      await this.#done('sweep')
    },
    commit: async () => {
      this.#document = await commit(this.#context, this.#plan, await this.#storedManifest())
    },
  }

  async #stream(): Promise<void> {
    const base = new Map<number, SavedPosition>()
    for (const position of this.#plan.positions) base.set(position.vbid, position)
    const settings = await this.#openStream(this.#plan)
    const positions = await streamChanges({
      ...settings,
      context: this.#context,
      journals: this.#journals,
      base,
      dropJournal: vbid => this.#dropJournal(vbid),
      dropPack: number => this.#dropPack(number),
    })
    // Asked for now, so that what is not in it has been dropped, and is not to be brought back.
    const manifest = await settings.node.ask(client => client.collectionsManifest())
    this.#plan = {
      ...this.#plan,
      ends: [...positions.values()],
      uploads: [...this.#journals.vbuckets.keys()],
      packs: [...this.#journals.packs.keys()],
      collections: collectionsSchema.parse(manifestJson(manifest)),
    }
    await this.#done('stream')
  }

  /** What the store has lost meanwhile is streamed again. */
  async #complete(): Promise<void> {
    const lost = await completeUploads(this.#context, this.#journals)
    if (lost.length === 0) return await this.#done('complete')
    if (++this.#losses > lossesMax)
      throw new BackupError('store', `the store loses uploads again and again: ${lost.length} now`)
    for (const journal of lost) {
      const vbuckets = 'vbid' in journal ? [journal] : journal.objects
      const reason = 'the upload is gone from the store'
      for (const { vbid } of vbuckets)
        this.#context.report({ type: 'vbucket', vbid, action: 'restart', reason })
      if ('vbid' in journal) await this.#dropJournal(journal.vbid)
      else await this.#dropPack(journal.number)
    }
    await this.#keepPlan({ ...this.#plan, steps: [] })
  }

  /** The first that is not done. */
  #next(): StepName | undefined {
    return stepNames.find(step => !this.#plan.steps.includes(step))
  }

  async #dropJournal(vbid: number): Promise<void> {
    this.#journals.vbuckets.delete(vbid)
    await this.#staging.removeJournal(vbid)
  }

  async #dropPack(number: number): Promise<void> {
    this.#journals.packs.delete(number)
    await this.#staging.removePack(number)
  }

  async #storedManifest(): Promise<StoredManifest> {
    return this.#manifest ?? (await readManifest(this.#context))
  }

  /** Whoever has but the checkpoint does the quick steps again, and finds them done. */
  async #done(step: StepName): Promise<void> {
    const plan = { ...this.#plan, steps: [...this.#plan.steps, step] }
    if (step === 'stream') return await this.#keepPlan(plan)
    this.#plan = plan
    await this.#staging.writePlan(plan)
  }

  async #keepPlan(plan: Plan): Promise<void> {
    this.#plan = plan
    await this.#staging.writePlan(plan)
    await this.#putCheckpoint()
  }

  async #keepJournal(journal: Journal): Promise<void> {
    await this.#staging.writeJournal(journal)
    this.#journals.vbuckets.set(journal.vbid, journal)
  }

  async #keepPack(journal: PackJournal): Promise<void> {
    await this.#staging.writePack(journal)
    this.#journals.packs.set(journal.number, journal)
  }

  #checkpointSoon(): void {
    // One that fails is followed by another; the staging folder has everything.
    this.#putCheckpoint().catch(() => {})
  }

  #putCheckpoint(): Promise<void> {
    const put = this.#checkpointing.then(() => this.#putCheckpointNow())
    this.#checkpointing = put.catch(() => {})
    return put
  }

  async #putCheckpointNow(): Promise<void> {
    const { store, prefix } = this.#context
    const checkpoint: Checkpoint = {
      format: 'holdfast-backup-checkpoint',
      version: 2,
      plan: this.#plan,
      journals: [...this.#journals.vbuckets.values()],
      packs: [...this.#journals.packs.values()],
    }
    await store.put(`${prefix}${BackupFile.checkpoint}`, encodeDocument(checkpoint))
  }
}
