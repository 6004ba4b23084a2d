import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import t from 'tap'
import {
  Datatype,
  Feature,
  featureMeaning,
  Magic,
  Opcode,
  opcodeTable,
  statusTable,
} from '../../protocol/index.ts'
import type { FeatureName } from '../../protocol/index.ts'

const readme = readFileSync(resolve(import.meta.dirname, '../../../protocol/README.md'), 'utf8')

/** The cells of the first table under a heading, without its head. */
function rowsUnder(heading: string): string[][] {
  const section = readme.split(/^#+ /m).find(part => part.startsWith(`${heading}\n`)) ?? ''
  const lines = section.split('\n')
  const first = lines.findIndex(line => line.startsWith('|'))
  const rows = lines.slice(first + 2)
  const end = rows.findIndex(line => !line.startsWith('|'))
  return rows.slice(0, end < 0 ? rows.length : end).map(line =>
    line
      .split('|')
      .slice(1, -1)
      .map(cell => cell.trim()),
  )
}

const hex = (code: number) => `0x${code.toString(16).padStart(2, '0')}`

t.test('the tables of the README are those of the code', t => {
  t.same(
    rowsUnder('Opcodes'),
    opcodeTable
      .filter(row => row.meaning !== 'Retired.')
      .map(row => [hex(row.code), `\`${row.name}\``, row.meaning]),
  )
  t.same(
    rowsUnder('Statuses'),
    statusTable.map(row => [hex(row.code), `\`${row.name}\``, row.retry, row.meaning]),
  )
  const features = Object.entries(Feature) as [FeatureName, number][]
  t.same(
    rowsUnder('Features'),
    features.map(([name, code]) => [hex(code), `\`${name}\``, featureMeaning[name]]),
  )
  const named = (rows: string[][]) => new Set(rows.map(([code, name]) => `${code} ${name}`))
  const table = (values: Readonly<Record<string, number>>) =>
    new Set(
      Object.entries(values)
        .filter(([, code]) => code !== Datatype.raw)
        .map(([name, code]) => `${hex(code)} \`${name}\``),
    )
  t.same(named(rowsUnder('Frames')), table(Magic))
  t.same(named(rowsUnder('Datatypes')), table(Datatype))
  t.end()
})

t.test('the commands and messages of the README exist', t => {
  const rows = [...rowsUnder('Commands'), ...rowsUnder('DCP')]
  const names = rows.flatMap(row => [...row[0]!.matchAll(/`(\w+)`/g)].map(match => match[1]!))
  t.ok(names.length > 40)
  t.same(
    names.filter(name => !Object.hasOwn(Opcode, name)),
    [],
  )
  t.end()
})
