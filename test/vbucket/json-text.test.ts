/** What counts as JSON, against JSON.parse and the cases where an implementation may be wrong. */
import assert from 'node:assert'
import fc from 'fast-check'
import t from 'tap'
import { isJson, scanList } from '../../src/vbucket/json-text.ts'

const is = (text: string | Buffer): boolean => {
  const bytes = Buffer.concat([Buffer.from('"['), Buffer.from(text), Buffer.from(']"')])
  return isJson(bytes, 2, bytes.length - 4)
}

function parses(text: string): boolean {
  try {
    JSON.parse(text)
    return true
  } catch {
    return false
  }
}

const texts = [
  ['', ' ', '0', '-0', '01', '-', '1.', '1.5', '.5', '1e5', '1E+5', '1e', '1e-', '-1.5e-10', '+1'],
  ['true', 'tru', 'truex', 'True', 'null', 'nul', 'false', 'falsey', 'undefined', 'NaN'],
  ['""', '"', '"a', '"a"b', '"\\n"', '"\\x"', '"\\u00e9"', '"\\u00g9"', '"\\u12"', '"\n"', '"\\"'],
  ['[]', '[', ']', '[1', '[1,', '[1,]', '[,1]', '[1 2]', '[[]]', '[]]', '[1}', ' [ 1 , 2 ] '],
  ['{}', '{', '}', '{"a"}', '{"a":}', '{"a":1', '{"a":1,}', '{a:1}', '{"a":1]', '{"a":{"b":[]}}'],
  ['{"a":1 "b":2}', '{ "a" : 1 , "b" : [ ] }', '1 2', '\t\r\n1\n', '\v1', '\u00a01', '{"a" 1}'],
].flat()

t.test('texts at the edges of the grammar', async () => {
  for (const text of texts) assert.equal(is(text), parses(text), JSON.stringify(text))
})

t.test('strings have to be UTF-8', async t => {
  t.ok(is('"é€😀"'))
  for (const hex of ['ff', 'c3', 'c080', 'eda080', 'f5808080']) {
    t.notOk(is(Buffer.from(`22${hex}22`, 'hex')), hex)
  }
  t.notOk(is(Buffer.from('5bc3a95d', 'hex')), 'and only strings may have more than ASCII')
})

t.test('deep texts end neither the stack nor the process', async t => {
  t.ok(is('['.repeat(1000) + ']'.repeat(1000)))
  t.notOk(is('['.repeat(100_000)))
  t.notOk(is('{"a":'.repeat(100_000)))
})

t.test('what JSON.parse takes, however it is changed, and nothing else', async () => {
  const changed = fc
    .tuple(
      fc.json({ maxDepth: 4 }),
      fc.nat(),
      fc.constantFrom(...'{}[],:"\\ 0e-tn'.split('')),
      fc.nat(2),
    )
    .map(([text, place, letter, removed]) => {
      const at = place % (text.length + 1)
      return text.slice(0, at) + letter + text.slice(at + removed)
    })
  const property = fc.property(fc.oneof(fc.json(), changed), text => {
    assert.equal(is(text), parses(text) && Buffer.from(text).toString() === text)
  })
  fc.assert(property, { numRuns: 3000 })
})

t.test('a list tells how many values it has and how deep they are', async t => {
  const list = (text: string) => scanList(Buffer.from(text))
  t.same(list(' 1 '), { count: 1, levels: 1, hasContainers: false })
  t.same(list('[]'), { count: 1, levels: 1, hasContainers: true })
  t.same(list('1,[2,[3]] , {}'), { count: 3, levels: 3, hasContainers: true })
  t.same(list('{"a":{"b":1}}'), { count: 1, levels: 3, hasContainers: true })
  t.same(list('"ü",{"a":[]}'), { count: 2, levels: 2, hasContainers: true })
  for (const none of ['', ' ', ',', '1,', '1 2', '1,,2', '[1', '1]', '"\u0001"']) {
    t.equal(list(none), undefined, none)
  }
  t.equal(scanList(Buffer.from('22ff22', 'hex')), undefined, 'strings have to be UTF-8')
})
