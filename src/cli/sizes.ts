const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB']

/** `1536` is `1.5 KiB`. */
export function sizeText(bytes: number): string {
  let value = bytes
  let unit = 0
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? value : value.toFixed(value < 10 ? 1 : 0)} ${units[unit]!}`
}

/** `1 backup`, `2 backups`: for nouns whose plural is made with an s. */
export function countText(count: number, noun: string): string {
  return `${count} ${noun}${count === 1 ? '' : 's'}`
}

/** What a backup holds, by kind. */
export function changesText(counts: {
  readonly mutation: number
  readonly deletion: number
  readonly expiration: number
}): string {
  const { mutation, deletion, expiration } = counts
  const kinds = [
    countText(mutation, 'mutation'),
    countText(deletion, 'deletion'),
    countText(expiration, 'expiration'),
  ]
  return kinds.join(', ')
}

/** `3725` is `1h02m`. */
export function durationText(seconds: number): string {
  const whole = Math.max(0, Math.round(seconds))
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60)]
  const two = (value: number) => String(value).padStart(2, '0')
  if (hours > 0) return `${hours}h${two(minutes)}m`
  return minutes > 0 ? `${minutes}m${two(whole % 60)}s` : `${whole}s`
}

/** Columns as wide as their widest cell; the first row is the head. */
export function tableText(rows: readonly (readonly string[])[]): string {
  const widths = rows[0]!.map((_, column) => Math.max(...rows.map(row => row[column]!.length)))
  const line = (row: readonly string[]) =>
    row.map((cell, column) => cell.padEnd(widths[column]!)).join('  ')
  return rows.map(row => `${line(row).trimEnd()}\n`).join('')
}
