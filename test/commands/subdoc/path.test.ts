import { randomInt } from 'node:crypto'
import assert from 'node:assert/strict'
import fc from 'fast-check'
import t from 'tap'
import { statusName } from '../../../protocol/status.ts'
import { parsePath } from '../../../src/commands/subdoc/path.ts'
import { pathText } from './documents.ts'
import type { Step } from './model.ts'

const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
t.comment(`SEED=${seed}`)
const parameters = { seed, numRuns: Number(process.env['RUNS'] ?? 2000) }

/** Names as they are meant, and indexes; or the name of the status. */
function steps(text: string | Buffer): Step[] | string {
  const path = parsePath(Buffer.from(text))
  if (typeof path === 'number') return statusName(path)
  return path.map(({ name, plainName, index }) =>
    name === undefined ? index : plainName.toString(),
  )
}

t.test('a path is names and indexes', t => {
  const cases: Record<string, Step[]> = {
    '': [],
    'foo.bar.baz': ['foo', 'bar', 'baz'],
    'array[1].item[9]': ['array', 1, 'item', 9],
    '[1][2][-1]': [1, 2, -1],
    '[-1].[-1]': [-1, -1],
    'a.[0]': ['a', 0],
    'a[007]': ['a', 7],
    '`simple`.`escaped`': ['simple', 'escaped'],
    'escaped.`arr.idx`[9]': ['escaped', 'arr.idx', 9],
    '`BACK``TICK`.`CAMPER`': ['BACK`TICK', 'CAMPER'],
    'trailing``': ['trailing`'],
    'a`.`b': ['a.b'],
    Fútbol: ['Fútbol'],
    'a-b c': ['a-b c'],
    [String.raw`\"quoted`]: ['"quoted'],
    [String.raw`a\/b\\\n`]: ['a/b\\\n'],
    // The last dot may be one too many.
    'foo.': ['foo'],
    '$document.CAS': ['$document', 'CAS'],
  }
  for (const [text, expected] of Object.entries(cases)) t.same(steps(text), expected, text)
  t.end()
})

t.test('what is none is refused', t => {
  const none = [
    '.',
    '..',
    'a..b',
    '.[0]',
    '[',
    '[1',
    '[]',
    '[a]',
    '[-2]',
    '[1.0]',
    '[+1]',
    'a]',
    '``',
  ]
    .concat(
      'hello[0]world',
      '"quote',
      'a\nb',
      '`open',
      'a`b',
      String.raw`\u0061`,
      '\\',
      String.raw`\x`,
    )
    .concat('[18446744073709551616]')
  for (const text of none) t.equal(steps(text), 'subdocPathInvalid', text)
  t.equal(steps(Buffer.from([0x61, 0xff])), 'subdocPathInvalid', 'no UTF-8')
  t.equal(steps('a.'.repeat(31)).length, 31)
  t.equal(steps('a.'.repeat(32)), 'subdocPathTooBig')
  t.equal(steps('[0]'.repeat(32)), 'subdocPathTooBig')
  t.end()
})

t.test('every name and index can be written, and is read as it was meant', t => {
  const anyName = fc
    .string({ unit: 'binary', minLength: 1, maxLength: 8 })
    .filter(name => !JSON.stringify(name).includes(String.raw`\u`))
  const anyStep = fc.oneof(anyName, fc.integer({ min: -1, max: 2 ** 40 }))
  fc.assert(
    fc.property(fc.array(anyStep, { maxLength: 31 }), path => {
      assert.deepEqual(steps(pathText(path)), path)
    }),
    parameters,
  )
  t.end()
})

t.test('any bytes are a path or are refused', t => {
  const anyBytes = fc.oneof(
    fc.uint8Array({ maxLength: 40 }),
    fc
      .string({ unit: fc.constantFrom(...'ab.[]`\\"-10u'.split('')), maxLength: 20 })
      .map(text => Buffer.from(text)),
  )
  fc.assert(
    fc.property(anyBytes, bytes => {
      const path = parsePath(Buffer.from(bytes))
      if (typeof path === 'number') assert.match(statusName(path), /^subdocPath(Invalid|TooBig)$/)
      // What goes into a document as a name must be one there.
      else for (const { name } of path) if (name) JSON.parse(`"${name.toString()}"`)
    }),
    parameters,
  )
  t.end()
})
