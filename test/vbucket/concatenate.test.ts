import t from 'tap'
import { Datatype } from '../../protocol/datatype.ts'
import { Status } from '../../protocol/status.ts'
import { committed, documentKey, openBuckets, storing } from '../support/bucket.ts'

/** One attribute, `a` with the value 1. */
const attributes = Buffer.from('000000080000000461003100', 'hex')

t.test('what is put before or behind a value leaves its attributes in front', async t => {
  const { bucket } = await openBuckets(t, t.testdir())
  const vbucket = bucket.vbucket(1)!
  const request = storing('key', Buffer.concat([attributes, Buffer.from('{"a":1}')]))
  request.datatype = Datatype.json | Datatype.xattr
  t.equal(bucket.documents.store(vbucket, request), Status.success)
  for (const where of ['append', 'prepend'] as const) {
    t.equal(bucket.documents.concatenate(vbucket, storing('key', `<${where}>`), where), 0)
    await committed(bucket)
  }
  const record = bucket.documents.get(vbucket, documentKey('key'), 0, 4)!
  t.equal(record.datatype, Datatype.xattr, 'it is JSON no longer')
  const expected = Buffer.concat([attributes, Buffer.from('<prepend>{"a":1}<append>')])
  t.same(record.value(), expected)
})
