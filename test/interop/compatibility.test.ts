/** What docs/compatibility.md says: it is what was seen, and unknown commands do no harm. */
import { readFileSync } from 'node:fs'
import t from 'tap'
import { DcpControlKey } from '../../protocol/dcp/control.ts'
import { Feature } from '../../protocol/feature.ts'
import { Opcode } from '../../protocol/opcode.ts'
import { opcodeTable } from '../../protocol/opcode-table.ts'
import { Status } from '../../protocol/status.ts'
import { commands } from '../../src/commands/table.ts'
import { serve } from '../server/harness.ts'
import { documentFile, documentOf } from './programs/compatibility.ts'
import { readCompatibility } from './programs/results.ts'

t.test('the document is the one that the results and the commands make', t => {
  const written = readFileSync(documentFile, 'utf8')
  t.equal(written, documentOf(readCompatibility()), 'if not: npm run compatibility')
  t.end()
})

/** Ranges of opcodes that Couchbase's own description of the protocol has, as of August 2026. */
const documented =
  '00-4b 50-67 70-79 80-87 89-8c 91-97 9e-aa ac-bc c1-c2 c5-d3 da-dc e0-e3 f0-f8 fb-fe'

t.test('every opcode that Couchbase documents has a row', t => {
  const [, document] = readFileSync(documentFile, 'utf8').split('\n## Commands\n') as [
    string,
    string,
  ]
  const rows = [...document.matchAll(/^\| `0x(..)` \|/gm)].map(([, code]) => parseInt(code!, 16))
  t.same(rows, inRanges(documented))
  t.end()
})

t.test('every feature of HELLO and every control has a row, and no other', t => {
  const document = readFileSync(documentFile, 'utf8')
  const [, features] = /\n## Features of HELLO\n(.+)\n## Commands\n/s.exec(document)!
  const [, streams] = /\n## Change streams\n(.+)\n## Durable writes\n/s.exec(document)!
  const codes = [...features!.matchAll(/^\| `0x(..)` \|/gm)].map(([, code]) => parseInt(code!, 16))
  t.same(codes, Object.values(Feature))
  const controls = [...streams!.matchAll(/^\| `(\w+)` \|/gm)].map(([, name]) => name)
  t.same(controls, Object.values(DcpControlKey).toSorted())
  t.end()
})

t.test('every opcode that has a name has a row, and every command a name', t => {
  const document = readFileSync(documentFile, 'utf8')
  for (const { code, name } of opcodeTable) {
    t.ok(document.includes(`| \`0x${code.toString(16).padStart(2, '0')}\` | \`${name}\` |`), name)
  }
  const named = new Set<number>(Object.values(Opcode))
  t.ok(commands.every((command, opcode) => command === undefined || named.has(opcode)))
  t.end()
})

t.test(
  'of all 256 opcodes those without a command are unknown, and the connection lives',
  async t => {
    const { client } = await serve(t)
    const one = await client()
    let unknown = 0
    for (let opcode = 0; opcode < 256; opcode++) {
      if (commands[opcode] !== undefined) continue
      unknown++
      for (const more of [{}, { key: 'k', value: 'v', extras: Buffer.alloc(8) }]) {
        const answer = await one.call({ opcode, opaque: opcode, ...more })
        t.equal(answer.status, Status.unknownCommand)
        t.equal(answer.opcode, opcode)
        t.equal(answer.opaque, opcode)
      }
    }
    t.ok(unknown > 100)
    t.equal((await one.call({ opcode: Opcode.noop })).status, Status.success)
  },
)

function inRanges(ranges: string): number[] {
  return ranges.split(' ').flatMap(range => {
    const [first, last] = range.split('-').map(code => parseInt(code, 16)) as [number, number]
    return Array.from({ length: last - first + 1 }, (_, index) => first + index)
  })
}
