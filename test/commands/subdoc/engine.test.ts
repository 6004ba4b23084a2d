import assert from 'node:assert/strict'
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { isStatus, statusName } from '../../../protocol/status.ts'
import {
  arrayAddUnique,
  arrayInsert,
  arrayPushFirst,
  arrayPushLast,
  counter,
  dictAdd,
  dictUpsert,
  remove,
  replace,
  type Edit,
} from '../../../src/commands/subdoc/edits.ts'
import { readFragment } from '../../../src/commands/subdoc/fragment.ts'
import { countAtPath, getPath, pathExists } from '../../../src/commands/subdoc/lookups.ts'
import { anyCase, compact, pathText, spaceFrom, stepsIn } from './documents.ts'
import { modelEdits, modelGet, print } from './model.ts'

/** `SEED=… RUNS=…` replays a failure or runs longer. */
const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
const runs = Number(process.env['RUNS'] ?? 2000)
t.comment(`SEED=${seed} RUNS=${runs}`)
const parameters = { seed, numRuns: runs }

const show = (result: unknown): unknown => {
  if (typeof result === 'number' && isStatus(result)) return statusName(result)
  return Buffer.isBuffer(result) ? result.toString() : result
}

function commonPrefix(one: Buffer, other: Buffer): number {
  const end = Math.min(one.length, other.length)
  for (let at = 0; at < end; at++) if (one[at] !== other[at]) return at
  return end
}

/** Bytes of `before` that are at neither end of `after`. */
function touchedBytes(before: Buffer, after: Buffer): number {
  const prefix = commonPrefix(before, after)
  const suffix = commonPrefix(
    Buffer.from(before.subarray(prefix)).reverse(),
    Buffer.from(after.subarray(prefix)).reverse(),
  )
  return before.length - prefix - suffix
}

/** Edits that only put something in. */
const inserting = new Set(['dictAdd', 'arrayPushFirst', 'arrayPushLast', 'arrayAddUnique']).add(
  'arrayInsert',
)

const engine: Record<keyof typeof modelEdits, Edit> = {
  arrayAddUnique,
  arrayInsert,
  arrayPushFirst,
  arrayPushLast,
  counter,
  dictAdd,
  dictUpsert,
  remove,
  replace,
}

for (const [name, edit] of Object.entries(engine)) {
  t.test(`${name} does what the model does, and touches nothing else`, t => {
    const modelEdit = modelEdits[name as keyof typeof modelEdits]
    let successes = 0
    fc.assert(
      fc.property(anyCase, ({ tree, spaces, walk, makesParents, ...values }) => {
        const brought = name === 'counter' ? values.delta : values.brought
        const before = Buffer.from(print(tree, spaceFrom(spaces)))
        const steps = stepsIn(tree, walk)
        // Protocol checks keep the root out of the edits that are not about arrays.
        fc.pre(steps.length > 0 || name.startsWith('array'))
        const target = modelGet(tree, steps)
        const targetLength =
          typeof target === 'number' ? 0 : print(target, spaceFrom(['    '])).length * 4 + 50
        const expected = modelEdit(tree, steps, brought, makesParents)
        const path = Buffer.from(pathText(steps))
        const actual = edit(before, path, readFragment(Buffer.from(brought.text)), makesParents)
        if (typeof actual === 'number') {
          assert.equal(show(actual), show(expected))
          return
        }
        successes++
        assert.equal(show(expected), 'success')
        assert.equal(compact(actual.text.toString()), print(tree))
        const touched = touchedBytes(before, actual.text)
        assert.ok(touched <= (inserting.has(name) ? 0 : targetLength), `${touched} bytes changed`)
        if (name === 'counter') assert.equal(show(getPath(actual.text, path)), show(actual.value))
        else assert.equal(actual.value, undefined)
      }),
      parameters,
    )
    t.ok(successes > runs / 100, `${successes} of them succeeded`)
    t.end()
  })
}

t.test('lookups find what the model finds, byte for byte', t => {
  fc.assert(
    fc.property(anyCase, ({ tree, spaces, walk }) => {
      const text = Buffer.from(print(tree, spaceFrom(spaces)))
      const steps = stepsIn(tree, walk)
      const path = Buffer.from(pathText(steps))
      const expected = modelGet(tree, steps)
      const value = getPath(text, path)
      const count = countAtPath(text, path)
      if (typeof expected === 'number') {
        assert.equal(show(value), show(expected))
        assert.equal(show(pathExists(text, path)), show(expected))
        assert.equal(show(count), show(expected))
        return
      }
      assert.ok(Buffer.isBuffer(value))
      assert.equal(compact(value.toString()), print(expected))
      assert.equal(value.toString(), value.toString().trim())
      assert.ok(text.includes(value))
      assert.equal(show(pathExists(text, path)), '')
      const children = expected.kind === 'object' ? expected.members : []
      const { length } = expected.kind === 'array' ? expected.elements : children
      if (expected.kind === 'scalar') assert.equal(show(count), 'subdocPathMismatch')
      else assert.equal(show(count), String(length))
    }),
    parameters,
  )
  t.end()
})

const text = (value: string): Buffer => Buffer.from(value)
const bytes = (hex: string): Buffer => Buffer.from(hex, 'hex')

function edited(edit: Edit, before: string, path: string, value = '', makesParents = false) {
  const result = edit(text(before), text(path), readFragment(text(value)), makesParents)
  return typeof result === 'number' ? statusName(result) : result.text.toString()
}

t.test('an edit leaves white space, order and notation as they were', t => {
  const cases: [Edit, string, string, string, string][] = [
    [dictUpsert, '{ "a" : 1.0e0 ,"b":2 }', 'b', '3', '{ "a" : 1.0e0 ,"b":3 }'],
    [dictAdd, '{"a":1 }', 'b', '2', '{"a":1 ,"b":2}'],
    [dictAdd, ' { } ', 'b', ' 2 ', ' { "b": 2 } '],
    [dictUpsert, '{"a":{}}', 'a.b.c', '1', '{"a":{"b":{"c":1}}}'],
    [remove, '[1 , 2 , 3 ]', '[0]', '', '[ 2 , 3 ]'],
    [remove, '[1 , 2 , 3 ]', '[1]', '', '[1 ,  3 ]'],
    [remove, '[1 , 2 , 3 ]', '[-1]', '', '[1 , 2  ]'],
    [remove, '{"a" : 1}', 'a', '', '{}'],
    [remove, '[{"a":1,"b":2}]', '[-1].a', '', '[{"b":2}]'],
    [arrayPushLast, '[ ]', '', '1, 2', '[ 1, 2]'],
    [arrayPushFirst, '[ 1]', '', '0', '[ 0,1]'],
    [arrayInsert, '[1, 3]', '[1]', '2', '[1, 2,3]'],
    [arrayPushLast, '{}', 'a.b', '1', '{"a":{"b":[1]}}'],
  ]
  for (const [edit, before, path, value, after] of cases) {
    t.equal(edited(edit, before, path, value, true), after, `${path} of ${before}`)
  }
  t.end()
})

/** A document of so many arrays in each other, with something in the innermost. */
const nested = (levels: number, inner: string) => '['.repeat(levels) + inner + ']'.repeat(levels)

t.test('a document has 32 levels: what is nested deeper is neither read nor made', t => {
  const zeros = (count: number) => '[0]'.repeat(count)
  t.equal(show(getPath(text(nested(31, '1')), text(zeros(31)))), '1')
  t.equal(show(getPath(text(nested(32, '')), text(zeros(31)))), '[]')
  t.equal(show(getPath(text(nested(32, '1')), text(zeros(31)))), 'subdocDocumentTooDeep')
  t.equal(show(getPath(text(nested(33, '')), text('[0]'))), 'subdocDocumentTooDeep')
  t.equal(show(getPath(text('[]'), text(zeros(32)))), 'subdocPathTooBig')
  // What lies behind the place is not looked at.
  t.equal(show(getPath(text(`[1,${nested(40, '')}]`), text('[0]'))), '1')
  t.equal(show(getPath(text(`[${nested(40, '')},1]`), text('[1]'))), 'subdocDocumentTooDeep')
  t.equal(edited(replace, nested(31, '1'), zeros(31), '2'), nested(31, '2'))
  t.equal(edited(replace, nested(31, '1'), zeros(30), '[3,4]'), nested(31, '3,4'))
  t.equal(edited(replace, nested(31, '1'), zeros(30), '[[5]]'), 'subdocValueTooDeep')
  t.equal(edited(arrayPushLast, nested(31, '1'), zeros(30), '[]'), nested(31, '1,[]'))
  t.equal(edited(arrayPushLast, nested(31, '1'), zeros(30), '[1]'), 'subdocValueTooDeep')
  t.equal(edited(arrayPushLast, nested(32, ''), zeros(31), '1'), 'subdocValueTooDeep')
  t.equal(edited(arrayInsert, nested(31, '1'), zeros(31), '0'), nested(31, '0,1'))
  t.equal(edited(dictUpsert, '{}', 'a', nested(32, '')), 'subdocValueTooDeep')
  t.equal(edited(dictUpsert, '{}', 'a', nested(31, '')), `{"a":${nested(31, '')}}`)
  t.end()
})

t.test('counters are exact beyond 2^53 and stop at the ends of 64 bits', t => {
  const at = (number: string, delta: string) => edited(counter, `{"n":${number}}`, 'n', delta)
  t.equal(at('9007199254740993', '1'), '{"n":9007199254740994}')
  t.equal(at('9223372036854775806', '1'), '{"n":9223372036854775807}')
  t.equal(at('9223372036854775806', '2'), 'subdocValueCannotInsert')
  t.equal(at('-9223372036854775807', '-2'), 'subdocValueCannotInsert')
  t.equal(at('-9223372036854775808', '9223372036854775807'), '{"n":-1}')
  t.equal(at('0', '-9223372036854775808'), '{"n":-9223372036854775808}')
  t.equal(at('9223372036854775808', '-1'), 'subdocNumberOutOfRange')
  t.equal(at('1.0', '1'), 'subdocPathMismatch')
  for (const delta of ['0', '-0', '01', '+1', '1.0', '1e3', ' 1', '', '-', '9223372036854775808']) {
    t.equal(at('1', delta), 'subdocDeltaInvalid', delta)
  }
  t.end()
})

t.test('bytes that are no UTF-8 are left alone by edits elsewhere', t => {
  const before = Buffer.concat([text('{"a":"'), bytes('ff80'), text('","b":1}')])
  const result = replace(before, text('b'), readFragment(text('2')), false)
  assert.ok(typeof result === 'object')
  const after = Buffer.concat([text('{"a":"'), bytes('ff80'), text('","b":2}')])
  t.equal(result.text.toString('hex'), after.toString('hex'))
  t.end()
})
