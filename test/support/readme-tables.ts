import { opcodeTable } from '../../protocol/opcode-table.ts'
import { commandRows } from '../../src/commands/table.ts'
import { environmentName, optionRows } from '../../src/config/options.ts'

/** The rows of the README's tables as the code has them, in Markdown. */
export function settingRows(): string[] {
  return optionRows.map(([, { flag, kind, default: value, meaning }]) =>
    row([
      `\`--${flag}\``,
      `\`${environmentName(flag)}\``,
      `\`${kind.format(value)}\``,
      `${meaning}`,
    ]),
  )
}

export function commandTableRows(): string[] {
  const served = new Set(commandRows.map(({ opcode }) => opcode))
  return opcodeTable
    .filter(({ code }) => served.has(code))
    .sort((one, other) => one.code - other.code)
    .map(({ code, name, meaning }) =>
      row([`\`${name}\``, `\`0x${code.toString(16).padStart(2, '0')}\``, meaning]),
    )
}

/** Undoes the formatter's alignment. */
export function normalized(tableRow: string): string {
  return row(
    tableRow
      .slice(1, -1)
      .split('|')
      .map(cell => cell.trim()),
  )
}

function row(cells: readonly string[]): string {
  return `| ${cells.join(' | ')} |`
}
