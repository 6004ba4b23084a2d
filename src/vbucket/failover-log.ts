/**
 * The histories a vbucket has lived through, newest first: from `seqno` on, changes were made
 * under `vbuuid`. A new entry begins whenever a change could have been lost or made elsewhere:
 * after an unclean stop, and whenever the vbucket becomes active.
 */
export interface FailoverEntry {
  vbuuid: bigint
  seqno: number
}

const entriesMax = 25

export class FailoverLog {
  #entries: readonly FailoverEntry[]

  constructor(entries: readonly FailoverEntry[]) {
    this.#entries = entries
  }

  /** Newest first; never empty. */
  get entries(): readonly FailoverEntry[] {
    return this.#entries
  }

  /** Of the history that goes on now. */
  get vbuuid(): bigint {
    return this.#entries[0]!.vbuuid
  }

  /** Begins a new history behind `seqno`; older ones that began later never happened. */
  branch(vbuuid: bigint, seqno: number): void {
    const kept = this.#entries.filter(entry => entry.seqno <= seqno)
    this.#entries = [{ vbuuid, seqno }, ...kept].slice(0, entriesMax)
  }

  /** Takes over another node's histories, newest first. */
  replace(entries: readonly FailoverEntry[]): void {
    this.#entries = entries.slice(0, entriesMax)
  }

  toJSON(): { vbuuid: string; seqno: number }[] {
    return this.#entries.map(({ vbuuid, seqno }) => ({ vbuuid: vbuuid.toString(16), seqno }))
  }

  static fromJSON(entries: readonly { vbuuid: string; seqno: number }[]): FailoverLog {
    return new FailoverLog(
      entries.map(({ vbuuid, seqno }) => ({ vbuuid: BigInt(`0x${vbuuid}`), seqno })),
    )
  }
}
