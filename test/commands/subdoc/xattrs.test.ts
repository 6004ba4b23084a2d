import t from 'tap'
import {
  decodeMeta,
  encodeCounterExtras,
  encodeStoreExtras,
  encodeUint32Extras,
  encodeWithMeta,
  SubdocDocFlag,
  SubdocPathFlag,
} from '../../../protocol/commands/index.ts'
import { Datatype } from '../../../protocol/datatype.ts'
import { Feature } from '../../../protocol/feature.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import { Status, statusName } from '../../../protocol/status.ts'
import { encodeXattrs } from '../../../protocol/xattrs.ts'
import { ManualClock } from '../../dcp/support/manual-clock.ts'
import { subdocScene, type SubdocClient } from './client.ts'

const {
  subdocArrayPushLast,
  subdocCounter,
  subdocDelete,
  subdocDictAdd,
  subdocDictUpsert,
  subdocExists,
  subdocGet,
  subdocGetCount,
  subdocReplace,
  subdocReplaceBodyWithXattr,
} = Opcode
const { makeParents, xattr, expandMacros, binaryValue } = SubdocPathFlag
const { makeDocument, add, accessDeleted, createAsDeleted, revive } = SubdocDocFlag

/** The keys of the attributes that the document has. */
async function keys(one: SubdocClient, docFlags = 0): Promise<string> {
  return (await one.lookup([[subdocGet, '$XTOC', '', xattr]], { docFlags })).at(1)!
}

t.test('attributes are read and changed like a document of their own', async t => {
  const { one } = await subdocScene(t)
  await one.set('{"meta":"of the body"}')
  t.equal(await one.xattr(subdocGet, 'meta'), 'subdocPathNotFound')
  t.equal(await one.xattr(subdocDictAdd, 'meta.author', '"x"'), 'subdocPathNotFound')
  const parents = { pathFlags: makeParents }
  t.equal(await one.xattr(subdocDictAdd, 'meta.author', ' "x" ', parents), 'success')
  t.equal(await one.xattr(subdocDictAdd, 'meta', '1'), 'subdocPathExists')
  t.equal(await one.xattr(subdocArrayPushLast, '_tags', '1,2', parents), 'success')
  t.equal(await one.xattr(subdocCounter, '_n', '3'), 'success 3')
  t.equal(await one.xattr(subdocGet, 'meta'), 'success {"author": "x" }')
  t.equal(await one.xattr(subdocGet, '_tags[-1]'), 'success 2')
  t.equal(await one.xattr(subdocGetCount, '_tags'), 'success 2')
  t.equal(await one.xattr(subdocExists, '_none'), 'subdocPathNotFound')
  t.equal(await keys(one), '["meta","_tags","_n"]')
  t.equal(await one.get(), 'success {"meta":"of the body"}', 'GET shows the body alone')
  t.equal(await one.call(subdocGet, 'meta'), 'success "of the body"')
  t.equal(await one.xattr(subdocReplace, 'meta.author', '"y"'), 'success')
  t.equal(await one.xattr(subdocDelete, '_tags'), 'success')
  t.equal(await keys(one), '["meta","_n"]')
  await one.xattr(subdocDelete, 'meta')
  await one.xattr(subdocDelete, '_n')
  const meta = await one.client.call({ opcode: Opcode.getMeta, key: 'k', extras: Buffer.from([2]) })
  t.equal(decodeMeta(meta)!.datatype, 0, 'the last one leaves nothing behind')
})

t.test('several attributes and the body change together, attributes first', async t => {
  const { one } = await subdocScene(t)
  const make = { docFlags: makeDocument }
  t.same(
    await one.mutate(
      [
        [subdocDictUpsert, '_a.x', '1', xattr],
        [subdocDictUpsert, 'b', '2', xattr],
        [subdocDictUpsert, 'body', '3'],
      ],
      make,
    ),
    ['success'],
  )
  t.same(
    await one.lookup([
      [subdocGet, 'b', '', xattr],
      [subdocGet, 'body'],
    ]),
    ['success', '2', '3'],
  )
  const wrong = await one.lookup([
    [subdocGet, 'body'],
    [subdocGet, 'b', '', xattr],
  ])
  t.same(wrong, ['subdocInvalidXattrOrder'])
  t.same(
    await one.mutate([
      [subdocDictUpsert, 'c', '1', xattr],
      [subdocReplace, 'none', '1'],
    ]),
    ['subdocMultiPathFailure', '1 subdocPathNotFound'],
  )
  t.equal(await keys(one), '["_a","b"]', 'nothing of a failed request is there')
  t.same(await one.mutate([[subdocDictUpsert, '_only', '1', xattr]], { ...make, key: 'new' }), [
    'success',
  ])
  t.equal(await one.get('new'), 'success {}')
})

t.test('keys, flags and macros of attributes are checked', async t => {
  const { one } = await subdocScene(t)
  await one.set('{}')
  const upsert = (path: string, value = '1', pathFlags = 0) =>
    one.xattr(subdocDictUpsert, path, value, { pathFlags })
  for (const path of ['', '_', '.a', '-a', 'a'.repeat(16), '`a`']) {
    t.equal(await upsert(path), 'xattrInvalid', path)
  }
  t.equal(await upsert('a'.repeat(15)), 'success')
  t.equal(await upsert('$document.CAS'), 'subdocXattrCannotModifyVirtualAttribute')
  t.equal(await one.xattr(subdocGet, '$none'), 'subdocXattrUnknownVirtualAttribute')
  t.equal(await one.xattr(subdocGet, '$document.none'), 'subdocPathNotFound')
  t.equal(await upsert('a', '"${Mutation.none}"', expandMacros), 'subdocXattrUnknownMacro')
  t.equal(await upsert('a', '"${$document.none}"', expandMacros), 'subdocXattrUnknownVirtualMacro')
  t.equal(await upsert('a', '1', expandMacros | binaryValue), 'subdocXattrInvalidFlagCombination')
  const body = { pathFlags: expandMacros }
  const combination = 'subdocXattrInvalidFlagCombination'
  t.equal(await one.call(subdocDictUpsert, 'a', '"${Mutation.CAS}"', body), combination)
  t.equal(await one.call(subdocDictUpsert, 'a', '1', { pathFlags: binaryValue }), combination)
  await one.hello(Feature.xerror)
  t.equal(await upsert('a'), 'notSupported', 'attributes were not negotiated')
})

t.test('$document tells what the server knows of a document', async t => {
  const clock = new ManualClock()
  const { one, bucket } = await subdocScene(t, { clock })
  const extras = encodeStoreExtras({ flags: 0x0200_0006, expiry: 1000 })
  await one.set('123456789', 'k', { extras })
  const { cas } = await one.set('123456789', 'k', { extras, datatype: Datatype.json })
  const [, text] = await one.lookup([[subdocGet, '$document', '', xattr]])
  t.same(JSON.parse(text!), {
    CAS: `0x${cas.toString(16).padStart(16, '0')}`,
    datatype: ['json'],
    deleted: false,
    exptime: Math.floor(clock.nowMs() / 1000) + 1000,
    flags: 0x0200_0006,
    last_modified: String(Math.floor(clock.nowMs() / 1000)),
    revid: '2',
    seqno: '0x0000000000000002',
    value_bytes: 9,
    // The check value that every description of CRC-32C gives for these digits.
    value_crc32c: '0xe3069283',
    vbucket_uuid: `0x${bucket.vbucket(0)!.failoverLog.vbuuid.toString(16).padStart(16, '0')}`,
  })
  t.equal(await one.xattr(subdocGet, '$document.revid'), 'success "2"')
  const [, hlc] = await one.lookup([[subdocGet, '$vbucket.HLC', '', xattr]])
  t.same(JSON.parse(hlc!), { mode: 'real', now: String(Math.floor(clock.nowMs() / 1000)) })
  clock.advance(-5000)
  const [, behind] = await one.lookup([[subdocGet, '$vbucket.HLC.mode', '', xattr]])
  t.equal(behind, '"logical"')
  t.equal(await keys(one), '[]')
  await one.xattr(subdocDictUpsert, 'a', '1')
  t.equal(await one.xattr(subdocGet, '$document.datatype'), 'success ["json","xattr"]')
  t.equal(await one.xattr(subdocGet, '$document.value_bytes'), 'success 9')
})

t.test('macros stand for what is known when the mutation is written', async t => {
  const { one, bucket } = await subdocScene(t)
  await one.set('{"a":1}')
  const { casHigh, casLow } = bucket.documents.getMeta(
    bucket.vbucket(0)!,
    Buffer.from('\0k'),
    0,
    2,
  )!
  const before = `${hex(casHigh)}${hex(casLow)}`
  const flags = xattr | expandMacros | makeParents
  const frame = await one.mutate([
    [subdocDictUpsert, '_t.cas', '"${Mutation.CAS}"', flags],
    [subdocDictUpsert, '_t.seqno', '"${Mutation.seqno}"', flags],
    [subdocDictUpsert, '_t.crc', '"${Mutation.value_crc32c}"', flags],
    [subdocArrayPushLast, '_t.list', '"${Mutation.CAS}"', flags],
    [subdocDictUpsert, '_t.before', '"${$document.CAS}"', flags],
    [subdocDictUpsert, '_t.document', '"${$document}"', flags],
    [subdocDictUpsert, '_t.text', '"${Mutation.CAS}"', xattr],
    [Opcode.set, '', '123456789'],
  ])
  t.same(frame, ['success'])
  const [, text] = await one.lookup([[subdocGet, '_t', '', xattr]])
  const { cas } = await one.client.call({ opcode: Opcode.get, key: 'k' })
  const swapped = Buffer.alloc(8)
  swapped.writeBigUInt64LE(cas)
  const casText = `0x${swapped.toString('hex')}`
  const told = JSON.parse(text!) as Record<string, unknown>
  t.match(told, {
    cas: casText,
    seqno: '0x0000000000000002',
    crc: '0xe3069283',
    list: [casText],
    before: `0x${before}`,
    text: '${Mutation.CAS}',
  })
  t.match(told['document'], { CAS: `0x${before}`, value_bytes: 7 })
})

const hex = (half: number) => half.toString(16).padStart(8, '0')

t.test(
  'plain stores keep attributes, deletions and expirations only those of the system',
  async t => {
    const clock = new ManualClock()
    const { one } = await subdocScene(t, { clock })
    const prepare = async () => {
      await one.set('1')
      await one.xattr(subdocDictUpsert, '_sys', '"s"')
      await one.xattr(subdocDictUpsert, 'user', '"u"')
    }
    await prepare()
    const both = '["_sys","user"]'
    await one.set('2')
    t.equal(await keys(one), both)
    t.equal(await one.get(), 'success 2')
    const extras = encodeStoreExtras({ flags: 0, expiry: 0 })
    await one.client.call({ opcode: Opcode.replace, key: 'k', value: '4', extras })
    const count = encodeCounterExtras({ delta: 1n, initial: 0n, expiry: 0 })
    await one.client.call({ opcode: Opcode.increment, key: 'k', extras: count })
    await one.client.call({ opcode: Opcode.append, key: 'k', value: '0' })
    await one.client.call({ opcode: Opcode.prepend, key: 'k', value: '1' })
    await one.client.call({ opcode: Opcode.touch, key: 'k', extras: encodeUint32Extras(100) })
    t.equal(await one.get(), 'success 150')
    t.equal(await keys(one), both)

    const deleted = { docFlags: accessDeleted }
    await one.remove()
    t.equal(await one.xattr(subdocGet, '_sys'), 'keyNotFound')
    t.equal(await one.xattr(subdocGet, '_sys', '', deleted), 'subdocSuccessDeleted "s"')
    t.equal(await one.xattr(subdocGet, 'user', '', deleted), 'subdocPathNotFound')
    t.same(
      await one.lookup(
        [
          [subdocGet, '_sys', '', xattr],
          [Opcode.get, ''],
        ],
        deleted,
      ),
      ['subdocMultiPathFailureDeleted', '"s"', 'subdocPathNotFound'],
    )
    await prepare()
    t.equal(await keys(one), both, 'a new life begins without what the tombstone had')
    await one.client.call({ opcode: Opcode.touch, key: 'k', extras: encodeUint32Extras(10) })
    clock.advance(11_000)
    t.equal(await one.get(), 'keyNotFound')
    t.equal(await keys(one, accessDeleted), '["_sys"]')
    await prepare()
    t.same(
      await one.mutate([
        [subdocDictUpsert, '_more', '1', xattr],
        [Opcode.delete, ''],
      ]),
      ['success'],
    )
    t.equal(await keys(one, accessDeleted), '["_sys","_more"]')
    t.equal(await one.get(), 'keyNotFound')
  },
)

t.test('a document is created as a tombstone, changed there, and revived', async t => {
  const { one } = await subdocScene(t)
  const stage = { docFlags: add | createAsDeleted | accessDeleted, pathFlags: makeParents }
  t.equal(await one.xattr(subdocDictUpsert, 'txn.staged', '{"v":1}', stage), 'subdocSuccessDeleted')
  t.equal(await one.xattr(subdocDictUpsert, 'txn.staged', '{"v":1}', stage), 'keyExists')
  t.equal(await one.get(), 'keyNotFound')
  const deleted = { docFlags: accessDeleted }
  t.equal(await one.xattr(subdocGet, 'txn.staged', '', deleted), 'subdocSuccessDeleted {"v":1}')
  t.equal(await one.xattr(subdocGet, '$document.deleted', '', deleted), 'subdocSuccessDeleted true')
  t.equal(await one.xattr(subdocCounter, 'txn.n', '1', deleted), 'subdocSuccessDeleted 1')
  t.equal(await one.call(subdocDictUpsert, 'a', '1', deleted), 'subdocDocumentNotJson')
  const meta = await one.client.call({ opcode: Opcode.getMeta, key: 'k', extras: Buffer.from([2]) })
  t.match(decodeMeta(meta), { isDeleted: true, datatype: Datatype.xattr })

  const alive = { docFlags: accessDeleted | revive }
  const specs = [
    [subdocReplaceBodyWithXattr, 'txn.staged', '', xattr],
    [subdocDelete, 'txn', '', xattr],
  ] as const
  t.same(await one.mutate(specs, deleted), ['subdocDeletedDocumentCannotHaveValue'])
  t.same(await one.mutate(specs, alive), ['success'])
  t.equal(await one.get(), 'success {"v":1}')
  t.equal(await keys(one), '[]')
  t.same(await one.mutate([[subdocDictUpsert, 'v', '2']], alive), [
    'subdocCanOnlyReviveDeletedDocuments',
  ])
  const frame = await one.client.call({ opcode: Opcode.get, key: 'k' })
  t.equal(frame.datatype, Datatype.json)
  t.equal(
    await one.call(subdocReplaceBodyWithXattr, 'a'),
    'invalidArguments',
    'it is about attributes',
  )
  t.equal(await one.xattr(subdocReplaceBodyWithXattr, 'none'), 'subdocPathNotFound')
})

t.test('flags of tombstones that contradict each other are refused', async t => {
  const { one } = await subdocScene(t)
  const { invalidArguments } = Status
  const status = (docFlags: number, pathFlags: number = xattr) =>
    one.call(subdocDictUpsert, 'a', '1', { docFlags, pathFlags })
  t.equal(await status(createAsDeleted), statusName(invalidArguments))
  t.equal(await status(createAsDeleted | makeDocument, 0), statusName(invalidArguments))
  t.equal(await status(revive), statusName(invalidArguments))
  t.equal(
    await status(revive | accessDeleted | makeDocument | createAsDeleted),
    statusName(invalidArguments),
  )
  t.equal(await status(accessDeleted | revive), 'keyNotFound')
})

t.test('an attribute can hold bytes', async t => {
  const { one } = await subdocScene(t)
  await one.set('{}')
  const bytes = Buffer.from('00ff7b22', 'hex')
  const binary = { pathFlags: binaryValue }
  t.equal(await one.xattr(subdocDictUpsert, 'blob', bytes, binary), 'success')
  t.equal(await one.xattr(subdocGet, 'blob'), 'success "cb-content-base64-encoded:AP97Ig=="')
  const frame = await one.frame(subdocGet, 'blob', '', { pathFlags: xattr | binaryValue })
  t.equal(frame.value().toString('hex'), bytes.toString('hex'))
  t.equal(frame.datatype, Datatype.raw)
  await one.xattr(subdocDictUpsert, 'text', '"no bytes"')
  t.equal(await one.xattr(subdocGet, 'text', '', binary), 'subdocFieldNotBinaryValue')
  const bad = '"cb-content-base64-encoded:AP9"'
  t.equal(await one.xattr(subdocDictUpsert, 'blob', bad), 'xattrInvalid')
  t.equal(await one.xattr(subdocReplaceBodyWithXattr, 'blob', '', binary), 'success')
  const body = await one.client.call({ opcode: Opcode.get, key: 'k' })
  t.equal(body.value().toString('hex'), bytes.toString('hex'))
  t.equal(body.datatype, Datatype.raw)
})

t.test('system attributes have room of their own, users’ share that of the body', async t => {
  const { one } = await subdocScene(t, {
    settings: { valueBytesMax: 3 * 2 ** 20, frameBytesMax: 4 * 2 ** 20 },
  })
  await one.set(`"${'x'.repeat(3 * 2 ** 20 - 1000)}"`)
  const text = (length: number) => `"${'y'.repeat(length)}"`
  t.equal(await one.xattr(subdocDictUpsert, '_sys', text(2 ** 20 - 100)), 'success')
  t.equal(await one.xattr(subdocDictUpsert, '_more', text(200)), 'tooLarge')
  t.equal(await one.xattr(subdocDictUpsert, 'user', text(500)), 'success')
  t.equal(await one.xattr(subdocDictUpsert, 'user', text(1000)), 'tooLarge')
  t.equal(await keys(one), '["_sys","user"]')
})

t.test('SET_WITH_META brings attributes along, if they are what they say', async t => {
  const { one } = await subdocScene(t)
  const extras = encodeWithMeta({
    flags: 0,
    expiry: 0,
    revno: 7,
    casHigh: 1,
    casLow: 2,
    options: undefined,
    nmeta: undefined,
  })
  const section = (value: string) =>
    encodeXattrs([{ key: Buffer.from('_sys'), value: Buffer.from(value) }])
  const put = async (value: Buffer, key = 'k', opcode: number = Opcode.setWithMeta) => {
    const parts = { opcode, key, value, extras, datatype: Datatype.xattr }
    return statusName((await one.client.call(parts)).status)
  }
  const body = Buffer.from('{"a":1}')
  t.equal(await put(Buffer.concat([section('[1]'), body])), 'success')
  t.equal(await one.xattr(subdocGet, '_sys[0]'), 'success 1')
  t.equal(await one.get(), 'success {"a":1}')
  t.equal(await one.xattr(subdocCounter, '_sys[0]', '1'), 'success 2')
  t.equal(await put(Buffer.concat([section('[1'), body]), 'bad'), 'xattrInvalid')
  t.equal(await put(section('1').subarray(0, -1), 'bad'), 'xattrInvalid')
  t.equal(await put(Buffer.concat([section('1'), section('1').subarray(4)]), 'bad'), 'success')
  t.equal(await put(section('1'), 'dead', Opcode.delWithMeta), 'success')
  t.equal(await keys(one, 0), '["_sys"]')
  const deleted = { docFlags: accessDeleted, key: 'dead' }
  t.equal(await one.xattr(subdocGet, '_sys', '', deleted), 'subdocSuccessDeleted 1')
  t.equal(await put(section('2'), 'never', Opcode.delWithMeta), 'success')
})
