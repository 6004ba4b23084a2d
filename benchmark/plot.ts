/** A plot of one case as SVG: a bar for each row, and a line from the lowest to the highest. */
import type { Cell, Outcome, Row } from './benchmark.ts'
import { show } from './table.ts'

const labelWidth = 300
const barsWidth = 420
const valueWidth = 90
const rowHeight = 22
const top = 40
const colours = ['#2563a8', '#d97a2b', '#4a9a5b', '#8e5bb0', '#a3453f', '#6b7280']

/** Rows without the plotted column have no bar. */
export function plot({ name, rows, plot: column }: Outcome & { readonly name: string }): string {
  const shown = rows.filter(row => row[column] !== undefined)
  const longest = Math.max(...shown.map(row => boundsOf(row[column]!).high), Number.MIN_VALUE)
  const series = [...new Set(shown.map(seriesOf))]
  const bars = shown.map((row, index) => {
    const colour = colours[series.indexOf(seriesOf(row)) % colours.length]!
    return bar(row, { column, y: top + index * rowHeight, scale: barsWidth / longest, colour })
  })
  const width = labelWidth + barsWidth + valueWidth
  const height = top + shown.length * rowHeight + 12
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${width} ${height}" ` +
      `width="${width}" height="${height}" font-family="sans-serif" font-size="12">`,
    `<rect width="${width}" height="${height}" fill="#ffffff"/>`,
    `<text x="10" y="22" font-size="14" fill="#111111">${escaped(`${name}: ${column}`)}</text>`,
    ...bars,
    '</svg>\n',
  ].join('\n')
}

interface Place {
  readonly column: string
  readonly y: number
  readonly scale: number
  readonly colour: string
}

function bar(row: Row, { column, y, scale, colour }: Place): string {
  const { middle, low, high } = boundsOf(row[column]!)
  const x = (value: number) => (labelWidth + value * scale).toFixed(1)
  const line = y + rowHeight / 2
  const parts = [
    `<text x="${labelWidth - 8}" y="${line + 4}" text-anchor="end" fill="#111111">` +
      `${escaped(labelOf(row))}</text>`,
    `<rect x="${labelWidth}" y="${y + 4}" width="${(middle * scale).toFixed(1)}" ` +
      `height="${rowHeight - 8}" fill="${colour}"/>`,
    `<text x="${Number(x(high)) + 6}" y="${line + 4}" fill="#111111">${show(middle)}</text>`,
  ]
  if (high > low) {
    parts.push(
      `<path d="M${x(low)} ${line}H${x(high)}M${x(low)} ${line - 4}v8M${x(high)} ${line - 4}v8" ` +
        'stroke="#111111" fill="none"/>',
    )
  }
  return parts.join('\n')
}

function boundsOf(cell: Cell): { middle: number; low: number; high: number } {
  if (typeof cell === 'object') return { middle: cell.median, low: cell.low, high: cell.high }
  const value = Number(cell)
  return { middle: value, low: value, high: value }
}

function textsOf(row: Row): string[] {
  return Object.values(row).filter(cell => typeof cell === 'string')
}

/** Numbers among the texts, such as how many writers there were, with what they count. */
function labelOf(row: Row): string {
  const parts = Object.entries(row).flatMap(([column, cell]) => {
    if (typeof cell !== 'string') return []
    return /^[\d,]+$/.test(cell) ? `${column} ${cell}` : cell
  })
  return parts.join(', ')
}

/** Rows whose last text is the same, mostly the name of a server, have the same colour. */
function seriesOf(row: Row): string {
  return textsOf(row).at(-1) ?? ''
}

function escaped(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;').replaceAll('>', '&gt;')
}
