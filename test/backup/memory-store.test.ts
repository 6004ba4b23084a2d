import t from 'tap'
import { MemoryStore } from './memory-store.ts'
import { storeSuite } from './store-suite.ts'

t.test('the store in memory is a store', async t => {
  const store = new MemoryStore()
  await storeSuite(t, () => store)
})
