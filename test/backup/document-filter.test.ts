import t from 'tap'
import { DocumentFilter, type DocumentSelection } from '../../src/backup/restore/document-filter.ts'
import { record } from './objects.ts'

const keys = ['user::1', 'user::12', 'order::1', 'Ünïcode::7', '']
const matching = (selection: DocumentSelection) => {
  const filter = new DocumentFilter(selection)
  return keys.filter(key => filter.matches(record(1, key, '')))
}

t.test('what is not given lets everything through', async t => {
  t.same(matching({}), keys)
  t.same(matching({ keyPrefixes: [] }), keys)
  t.equal(new DocumentFilter({}).isOpen, true)
  t.equal(new DocumentFilter({ keyPattern: '' }).isOpen, false)
})

t.test('prefixes, expressions, and both', async t => {
  t.same(matching({ keyPrefixes: ['user::'] }), ['user::1', 'user::12'])
  t.same(matching({ keyPrefixes: ['order', 'Ünï'] }), ['order::1', 'Ünïcode::7'])
  t.same(matching({ keyPattern: '::1$' }), ['user::1', 'order::1'])
  t.same(matching({ keyPattern: '^\\pL+::7' }), ['Ünïcode::7'])
  t.same(matching({ keyPrefixes: ['user'], keyPattern: '1$' }), ['user::1'])
  t.same(matching({ keyPrefixes: ['user::123'] }), [])
})

t.test('no expression can make it hang', async t => {
  // Backtracking would try 2^250 ways.
  const hostile = new DocumentFilter({ keyPattern: '^(a+)+$' })
  t.equal(hostile.matches(record(1, `${'a'.repeat(249)}!`, '')), false)
  for (const [keyPattern, why] of [
    ['(a)\\1', /escape/],
    ['(?=a)', /unsupported/],
    ['(', /missing closing/],
    ['((a{100}){100}){100}', /repeat count/],
    ['a'.repeat(1001), /at most 1000/],
  ] as const)
    t.throws(() => new DocumentFilter({ keyPattern }), { name: 'RangeError', message: why })
})
