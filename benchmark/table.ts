import type { Row } from './benchmark.ts'

/** Rows under the names of their columns, numbers to the right, as plain text. */
export function table(rows: readonly Row[]): string {
  const columns = [...new Set(rows.flatMap(row => Object.keys(row)))]
  const cells = [columns, ...rows.map(row => columns.map(column => show(row[column])))]
  const widths = columns.map((_, index) => Math.max(...cells.map(line => line[index]!.length)))
  const isNumber = columns.map(column => rows.every(row => typeof row[column] !== 'string'))
  return cells
    .map(line =>
      line
        .map((cell, index) =>
          isNumber[index] ? cell.padStart(widths[index]!) : cell.padEnd(widths[index]!),
        )
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** Three significant digits at least, and no more than whole numbers from a hundred on. */
export function show(value: string | number | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  if (Number.isInteger(value) || Math.abs(value) >= 100)
    return Math.round(value).toLocaleString('en')
  return value.toPrecision(3)
}
