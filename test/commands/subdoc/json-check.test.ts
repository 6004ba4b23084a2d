import assert from 'node:assert/strict'
import { isUtf8 } from 'node:buffer'
import { randomInt } from 'node:crypto'
import fc from 'fast-check'
import t from 'tap'
import { checkList, isJson } from '../../../src/commands/subdoc/json-check.ts'
import { anySpaces, anyTree, spaceFrom } from './documents.ts'
import { print } from './model.ts'

const seed = Number(process.env['SEED'] ?? randomInt(2 ** 31))
t.comment(`SEED=${seed}`)
const parameters = { seed, numRuns: Number(process.env['RUNS'] ?? 3000) }

function parses(bytes: Uint8Array): boolean {
  if (!isUtf8(bytes)) return false
  // A byte order mark is no white space.
  const text = Buffer.from(bytes).toString()
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const anyDocument = fc
  .tuple(anyTree, anySpaces)
  .map(([tree, spaces]) => Buffer.from(print(tree, spaceFrom(spaces))))

t.test('documents are JSON if JSON.parse takes them, damaged ones too', t => {
  const anyDamage = fc.record({
    document: anyDocument,
    at: fc.nat(200),
    removed: fc.nat(3),
    put: fc.oneof(
      fc.uint8Array({ maxLength: 2 }),
      fc.constantFrom(...',:{}[]"\\0-.eE+ u'.split('')).map(character => Buffer.from(character)),
    ),
  })
  let whole = 0
  fc.assert(
    fc.property(anyDamage, ({ document, at, removed, put }) => {
      assert.ok(isJson(document))
      const start = at % (document.length + 1)
      const rest = document.subarray(start + removed)
      const damaged = Buffer.concat([document.subarray(0, start), put, rest])
      if (parses(damaged)) whole++
      assert.equal(isJson(damaged), parses(damaged))
    }),
    parameters,
  )
  t.ok(whole > 0, `${whole} of them were still JSON`)
  t.end()
})

t.test('small texts are JSON if JSON.parse takes them', t => {
  const anyText = fc.string({
    unit: fc.constantFrom(...'{}[]",:01-.eE+ \\untrfals\n'.split('')),
    maxLength: 9,
  })
  fc.assert(
    fc.property(anyText, text => {
      assert.equal(isJson(Buffer.from(text)), parses(Buffer.from(text)))
      const isList = parses(Buffer.from(`[${text}]`)) && text.trim() !== ''
      // A bracket can close the one in front of it.
      if (!/^[^[]*\]/.test(text)) assert.equal(checkList(Buffer.from(text)) !== undefined, isList)
    }),
    parameters,
  )
  t.end()
})

t.test('a document may be nested as deeply as it likes', t => {
  for (const depth of [31, 32, 33, 1023, 1024, 1025, 100_000]) {
    const text = '[{"a":'.repeat(depth) + '1' + '}]'.repeat(depth)
    t.ok(isJson(Buffer.from(text)), `${depth} times two levels`)
    t.notOk(isJson(Buffer.from(text.replace('}]', ']}'))), 'closed in the wrong order')
    t.notOk(isJson(Buffer.from(text.slice(0, -1))), 'not closed')
  }
  t.end()
})

t.test('a list tells how many values it has and how deep they are', t => {
  const list = (text: string) => checkList(Buffer.from(text))
  t.same(list(' 1 '), { count: 1, levels: 1, hasContainers: false })
  t.same(list('[]'), { count: 1, levels: 1, hasContainers: true })
  t.same(list('1,[2,[3]] , {}'), { count: 3, levels: 3, hasContainers: true })
  t.same(list('{"a":{"b":1}}'), { count: 1, levels: 3, hasContainers: true })
  for (const none of ['', ' ', ',', '1,', '1 2', '1,,2', '[1', '1]']) t.equal(list(none), undefined)
  t.end()
})
