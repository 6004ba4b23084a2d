/** The state of a vbucket on one node, as its number on the wire. */
export const VbucketState = {
  /** Serves reads and writes. */
  active: 1,
  /** Follows the active one; serves replica reads. */
  replica: 2,
  /** On its way to active; requests wait. */
  pending: 3,
  /** Serves nothing. */
  dead: 4,
} as const
export type VbucketStateName = keyof typeof VbucketState
export type VbucketState = (typeof VbucketState)[VbucketStateName]

export function isVbucketState(value: number): value is VbucketState {
  return Number.isInteger(value) && value >= VbucketState.active && value <= VbucketState.dead
}

/** The name of a state, or `state n` for a number that is none. */
export function vbucketStateName(state: number): string {
  for (const [name, value] of Object.entries(VbucketState)) if (value === state) return name
  return `state ${state}`
}
