import type { KvClient, MutationResult } from '../../src/client/index.ts'

/** How many changes are on their way at once: enough to keep the connection busy. */
const pipeline = 2_000
const keyPrefix = 'document-'
const headLength = 8

export function keyOf(index: number): string {
  return `${keyPrefix}${index}`
}

/** -1: no key of ours. */
export function indexOf(key: Buffer): number {
  let index = 0
  for (let at = keyPrefix.length; at < key.length; at++) {
    const digit = key[at]! - 0x30
    if (digit < 0 || digit > 9) return -1
    index = index * 10 + digit
  }
  return key.length > keyPrefix.length ? index : -1
}

/** Every byte and the length follow from what it is a revision of: nobody can make it up. */
export function valueOf(index: number, revision: number): Buffer {
  const value = Buffer.alloc(headLength + fillOf(index, revision), fillOf(revision, index))
  value.writeUInt32LE(index, 0)
  value.writeUInt32LE(revision, 4)
  return value
}

/** 0: it is not as `valueOf` made it. */
export function revisionOf(index: number, value: Buffer): number {
  if (value.length < headLength || value.readUInt32LE(0) !== index) return 0
  const revision = value.readUInt32LE(4)
  if (value.length !== headLength + fillOf(index, revision)) return 0
  const fill = fillOf(revision, index)
  for (let at = headLength; at < value.length; at++) if (value[at] !== fill) return 0
  return revision
}

function fillOf(one: number, other: number): number {
  return (one * 7 + other * 13) % 29
}

/** The state of documents by their number, in arrays, so that a million are a few MiB. */
export class DocumentTable {
  /** Of the newest change; 0: there never was one. */
  readonly seqnos: Uint32Array
  /** 0: there is no such document, or it was deleted. */
  readonly revisions: Uint32Array

  constructor(size: number) {
    this.seqnos = new Uint32Array(size)
    this.revisions = new Uint32Array(size)
  }

  get live(): number {
    return this.revisions.reduce((count, revision) => count + Math.sign(revision), 0)
  }

  /** Deleted, and not created again. */
  get deleted(): number {
    return this.seqnos.reduce(
      (count, seqno, index) => count + (seqno > 0 && this.revisions[index] === 0 ? 1 : 0),
      0,
    )
  }

  /** The first few differences, in words; empty when both are the same. */
  differences(other: DocumentTable): string[] {
    const found: string[] = []
    for (let index = 0; index < this.seqnos.length && found.length < 20; index++) {
      const [mine, theirs] = [this.#describe(index), other.#describe(index)]
      if (mine !== theirs) found.push(`${keyOf(index)}: ${mine}, not ${theirs}`)
    }
    return found
  }

  #describe(index: number): string {
    const revision = this.revisions[index]!
    const state = revision === 0 ? 'absent' : `revision ${revision}`
    return `${state} since seqno ${this.seqnos[index]}`
  }
}

/**
 * Creates, updates and deletes documents, and knows what has to be there: the seqnos are those that
 * the answers named. All goes over one connection and is carried out in its order.
 */
export class DocumentWriter {
  readonly table: DocumentTable
  created = 0
  updates = 0
  deletes = 0
  /** Changes that were carried out: the sum of all seqnos. */
  answered = 0
  readonly #kv: KvClient
  readonly #random: () => number
  #revision = 0

  constructor(kv: KvClient, size: number, random: () => number) {
    this.#kv = kv
    this.#random = random
    this.table = new DocumentTable(size)
  }

  /**
   * Creates documents until there have been `count`. With each come, on average, as many `updates`
   * and `deletes` of any that were created before; an update of one that is deleted creates it anew.
   */
  async createUpTo(count: number, rates: { updates: number; deletes: number }): Promise<void> {
    while (this.created < count) {
      const answers: Promise<void>[] = []
      while (answers.length < pipeline && this.created < count) {
        answers.push(this.#set(this.created++))
        if (this.#random() < rates.updates) answers.push(this.#update())
        if (this.#random() < rates.deletes) answers.push(this.#delete())
      }
      await Promise.all(answers)
    }
  }

  #update(): Promise<void> {
    this.updates++
    return this.#set(this.#any())
  }

  async #delete(): Promise<void> {
    const index = this.#any()
    if (this.table.revisions[index] === 0) return
    this.table.revisions[index] = 0
    this.deletes++
    this.#answered(index, await this.#kv.remove(keyOf(index)))
  }

  async #set(index: number): Promise<void> {
    const revision = ++this.#revision
    this.table.revisions[index] = revision
    this.#answered(index, await this.#kv.set(keyOf(index), valueOf(index, revision)))
  }

  /** Answers come in the order of the requests, so the last one of a document is its newest. */
  #answered(index: number, { token }: MutationResult): void {
    this.table.seqnos[index] = token!.seqno
    this.answered++
  }

  #any(): number {
    return Math.floor(this.#random() * this.created)
  }
}
