import type { Cell, Row } from './benchmark.ts'
import type { Spread } from './spread.ts'

/** The names of all columns, in the order in which rows first have them. */
export function columnsOf(rows: readonly Row[]): string[] {
  return [...new Set(rows.flatMap(row => Object.keys(row)))]
}

/** Rows under the names of their columns, numbers to the right, as plain text. */
export function table(rows: readonly Row[]): string {
  const columns = columnsOf(rows)
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

/** The same as Markdown; prettier aligns it. */
export function markdownTable(rows: readonly Row[]): string {
  const columns = columnsOf(rows)
  const alignment = columns.map(column =>
    rows.every(row => typeof row[column] !== 'string') ? '---:' : '---',
  )
  const lines = [columns, alignment, ...rows.map(row => columns.map(column => show(row[column])))]
  return lines.map(cells => `| ${cells.join(' | ')} |`).join('\n')
}

/** Three significant digits at least, and no more than whole numbers from a hundred on. */
export function show(value: Cell | undefined): string {
  if (value === undefined) return ''
  if (typeof value === 'string') return value
  if (typeof value === 'object') return showSpread(value)
  if (Number.isInteger(value) || Math.abs(value) >= 100)
    return Math.round(value).toLocaleString('en')
  return value.toPrecision(3)
}

function showSpread({ median, low, high }: Spread): string {
  if (low === high) return show(median)
  return `${show(median)} (${show(low)}–${show(high)})`
}
