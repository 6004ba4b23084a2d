/** How much of a crash matrix is taken, as `BACKUP_MATRIX` says. */
export interface Matrix {
  /** Every case is one of the matrix; if not, some are chosen that fit into the suite's time. */
  readonly isWhole: boolean
  readonly isSliced: boolean
  readonly slice: <T>(cases: readonly T[]) => T[]
}

/** `whole`; or `3/20`, the third of twenty slices of the whole; else what the suite has time for. */
export function matrixOf(text: string | undefined): Matrix {
  const match = /^(\d+)\/(\d+)$/.exec(text ?? '')
  if (!match) {
    if (text !== undefined && text !== 'whole')
      throw new Error(`BACKUP_MATRIX is whole, or a slice such as 3/20, not ${text}`)
    return { isWhole: text === 'whole', isSliced: false, slice: cases => [...cases] }
  }
  const [number, count] = [Number(match[1]), Number(match[2])]
  if (number < 1 || number > count) throw new Error(`there is no slice ${text}`)
  // Neighbours are alike: each slice has some of all.
  const isIn = (index: number) => index % count === number - 1
  return { isWhole: true, isSliced: true, slice: cases => cases.filter((_, at) => isIn(at)) }
}
