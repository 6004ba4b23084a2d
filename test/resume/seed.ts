/** `SEED=17 npm test` repeats a run; without it, every run draws a new one. */
export function seedOf(t: { comment(text: string): void }): number {
  const wanted = process.env['SEED']
  const seed = wanted === undefined ? 1 + Math.floor(Math.random() * 1_000_000) : Number(wanted)
  t.comment(`SEED=${seed}`)
  return seed
}
