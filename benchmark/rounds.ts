import type { Context } from './benchmark.ts'

export function roundsOf({ quick }: Context): number {
  return quick ? 2 : 5
}

/**
 * A, B, C, A, B, C and so on: whatever disturbs the machine for a while disturbs all of them.
 * Returns for each name what was measured in each round.
 */
export async function inTurns<Name extends string, T>(
  rounds: number,
  names: readonly Name[],
  measure: (name: Name, round: number) => Promise<T>,
): Promise<Record<Name, T[]>> {
  const measured = Object.fromEntries(names.map(name => [name, [] as T[]])) as Record<Name, T[]>
  for (let round = 1; round <= rounds; round++) {
    for (const name of names) measured[name].push(await measure(name, round))
  }
  return measured
}
