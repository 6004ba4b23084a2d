import t, { type Test } from 'tap'
import {
  decodeFlagsExtras,
  decodeMutationToken,
  SubdocDocFlag,
  SubdocPathFlag,
} from '../../../protocol/commands/index.ts'
import { Datatype } from '../../../protocol/datatype.ts'
import { Feature } from '../../../protocol/feature.ts'
import { encodeRequestFraming } from '../../../protocol/framing.ts'
import { Opcode } from '../../../protocol/opcode.ts'
import { Status, statusName } from '../../../protocol/status.ts'
import { VbucketState } from '../../../protocol/vbucket-state.ts'
import { ManualClock } from '../../dcp/support/manual-clock.ts'
import { subdocScene, type Spec, type SubdocClient } from './client.ts'

const {
  subdocArrayAddUnique,
  subdocArrayInsert,
  subdocArrayPushFirst,
  subdocArrayPushLast,
  subdocCounter,
  subdocDelete,
  subdocDictAdd,
  subdocDictUpsert,
  subdocExists,
  subdocGet,
  subdocGetCount,
  subdocReplace,
} = Opcode
const { makeParents } = SubdocPathFlag
const { makeDocument, add } = SubdocDocFlag

t.test('lookups tell a value, its presence, and how many elements it has', async t => {
  const { one } = await subdocScene(t)
  await one.set('{"a":{"b":[1, {"c":"x"} ]},"n":12345678901234567890}')
  t.equal(await one.call(subdocGet, 'a.b[1].c'), 'success "x"')
  t.equal(await one.call(subdocGet, 'a.b'), 'success [1, {"c":"x"} ]')
  t.equal(await one.call(subdocGet, 'n'), 'success 12345678901234567890')
  t.equal(await one.call(subdocExists, 'a.b[-1]'), 'success')
  t.equal(await one.call(subdocExists, 'a.x'), 'subdocPathNotFound')
  t.equal(await one.call(subdocGetCount, 'a.b'), 'success 2')
  t.equal(await one.call(subdocGetCount, ''), 'success 2')
  t.equal(await one.call(subdocGetCount, 'n'), 'subdocPathMismatch')
  t.equal(await one.call(subdocGet, 'a.b[2]'), 'subdocPathNotFound')
  t.equal(await one.call(subdocGet, 'a[0]'), 'subdocPathMismatch')
  t.equal(await one.call(subdocGet, 'a..b'), 'subdocPathInvalid')
  t.equal(await one.call(subdocGet, 'a.'.repeat(32)), 'subdocPathTooBig')
  t.equal(await one.call(subdocGet, 'a', '', { key: 'none' }), 'keyNotFound')
  const frame = await one.frame(subdocGet, 'a.b[0]')
  t.equal(frame.datatype, Datatype.json)
  t.equal(frame.extrasLength, 0)
  t.not(frame.cas, 0n)
  t.equal((await one.frame(subdocGet, 'a.b[0]', '', { cas: frame.cas })).status, Status.success)
  t.equal((await one.frame(subdocGet, 'a.b[0]', '', { cas: 1n })).status, Status.keyExists)
})

t.test('what is not JSON, whoever said that it was, has no paths', async t => {
  for (const detectJson of [true, false]) await checkNoPaths(t, detectJson)
})

async function checkNoPaths(t: Test, detectJson: boolean): Promise<void> {
  const { one } = await subdocScene(t, { bucketSettings: { detectJson } })
  for (const value of ['text', '{"a":1', '{"a":1}}', '', '{"a":1,}', '{"a":"\xff"}']) {
    await one.set(Buffer.from(value, 'latin1'), 'k', { datatype: Datatype.json })
    t.equal(await one.call(subdocGet, 'a'), 'subdocDocumentNotJson', value)
    t.equal(await one.call(subdocDictUpsert, 'a', '1'), 'subdocDocumentNotJson', value)
  }
  await one.set(' {"a":1} ')
  t.equal(await one.call(subdocGet, 'a'), 'success 1', 'nobody said that this is JSON')
  await one.set('{"ä":"ü"}')
  t.equal(await one.call(subdocGet, 'ä'), 'success "ü"')
}

/** Opcode, document before, path, value, and what is answered and there afterwards. */
type Case = readonly [
  opcode: number,
  before: string,
  path: string,
  value: string,
  answer: string,
  after?: string,
  flags?: number,
]

async function check(t: Test, one: SubdocClient, cases: readonly Case[]): Promise<void> {
  for (const [opcode, before, path, value, expected, after = before, pathFlags = 0] of cases) {
    await one.set(before)
    const name = `${path} of ${before} with ${value}`
    t.equal(await one.call(opcode, path, value, { pathFlags }), expected, name)
    t.equal(await one.get(), `success ${after}`, name)
  }
}

t.test('every mutation changes the document, or says why not', async t => {
  const { one } = await subdocScene(t)
  await check(t, one, [
    [subdocDictAdd, '{"a":1}', 'b', '2', 'success', '{"a":1,"b":2}'],
    [subdocDictAdd, '{"a":1}', 'a', '2', 'subdocPathExists'],
    [subdocDictAdd, '{}', 'b.c', '2', 'subdocPathNotFound'],
    [subdocDictAdd, '{}', 'b.c', '2', 'success', '{"b":{"c":2}}', makeParents],
    [subdocDictAdd, '{}', 'b', 'x', 'subdocValueCannotInsert'],
    [subdocDictAdd, '{}', 'b', '1,"c":2', 'subdocValueCannotInsert'],
    [subdocDictUpsert, '{"a":1}', 'a', '"x"', 'success', '{"a":"x"}'],
    [subdocDictUpsert, '{"a":[1]}', 'a[0]', '2', 'subdocPathInvalid'],
    [subdocReplace, '{"a":[1]}', 'a[0]', '2', 'success', '{"a":[2]}'],
    [subdocReplace, '{"a":1}', 'b', '2', 'subdocPathNotFound'],
    [subdocDelete, '{"a":1,"b":2}', 'a', '', 'success', '{"b":2}'],
    [subdocDelete, '{"a":1}', 'b', '', 'subdocPathNotFound'],
    [subdocArrayPushLast, '[1]', '', '2,3', 'success', '[1,2,3]'],
    [subdocArrayPushFirst, '[1]', '', '0', 'success', '[0,1]'],
    [subdocArrayPushLast, '{"a":1}', 'a', '2', 'subdocPathMismatch'],
    [subdocArrayPushLast, '{}', 'a', '1', 'success', '{"a":[1]}', makeParents],
    [subdocArrayInsert, '[1,3]', '[1]', '2', 'success', '[1,2,3]'],
    [subdocArrayInsert, '[1]', '[2]', '2', 'subdocPathNotFound'],
    [subdocArrayInsert, '[1]', '[-1]', '2', 'subdocPathInvalid'],
    [subdocArrayAddUnique, '[1]', '', '2', 'success', '[1,2]'],
    [subdocArrayAddUnique, '[1]', '', '1', 'subdocPathExists'],
    [subdocArrayAddUnique, '[[]]', '', '1', 'subdocPathMismatch'],
    [subdocArrayAddUnique, '[1]', '', '{}', 'subdocValueCannotInsert'],
    [
      subdocCounter,
      '{"n":9007199254740993}',
      'n',
      '2',
      'success 9007199254740995',
      '{"n":9007199254740995}',
    ],
    [subdocCounter, '{}', 'n', '-7', 'success -7', '{"n":-7}'],
    [subdocCounter, '{"n":1}', 'n', '0', 'subdocDeltaInvalid'],
    [subdocCounter, '{"n":9223372036854775808}', 'n', '1', 'subdocNumberOutOfRange'],
    [subdocCounter, '{"n":9223372036854775807}', 'n', '1', 'subdocValueCannotInsert'],
    [subdocCounter, '{"n":1.5}', 'n', '1', 'subdocPathMismatch'],
    [subdocDictUpsert, '{}', 'a', '['.repeat(32) + ']'.repeat(32), 'subdocValueTooDeep'],
    [subdocReplace, '['.repeat(33) + ']'.repeat(33), '[1]', '1', 'subdocDocumentTooDeep'],
  ])
})

t.test('an answer carries the new cas and, if negotiated, where the change is', async t => {
  const { one, bucket } = await subdocScene(t)
  const { cas } = await one.set('{"n":1}')
  const counted = await one.frame(subdocCounter, 'n', '1', { cas })
  t.equal(counted.value().toString(), '2')
  t.equal(counted.datatype, Datatype.json)
  t.ok(counted.cas > cas)
  const { vbuuid } = bucket.vbucket(0)!.failoverLog
  t.same(decodeMutationToken(counted), { vbuuid, seqno: 2 })
  const replaced = await one.frame(subdocReplace, 'n', '5', { cas: counted.cas })
  t.same(decodeMutationToken(replaced), { vbuuid, seqno: 3 })
  t.equal(replaced.valueLength, 0)
  t.equal((await one.frame(subdocReplace, 'n', '5', { cas })).status, Status.keyExists)
  await one.hello(Feature.xattr)
  const plain = await one.frame(subdocCounter, 'n', '1')
  t.equal(plain.extrasLength, 0)
  t.equal(plain.datatype, Datatype.raw, 'the client does not know of JSON')
  t.equal(await one.get(), 'success {"n":6}')
})

t.test('a missing document can be made, with the root that the path needs', async t => {
  const { one } = await subdocScene(t)
  const make = { docFlags: makeDocument }
  t.equal(await one.call(subdocDictUpsert, 'a.b', '1'), 'keyNotFound')
  t.equal(await one.call(subdocDictUpsert, 'a.b', '1', make), 'success')
  t.equal(await one.get(), 'success {"a":{"b":1}}')
  t.equal(await one.call(subdocDictUpsert, 'a.c', '2', make), 'success')
  t.equal(await one.get(), 'success {"a":{"b":1,"c":2}}')
  const only = { docFlags: add }
  t.equal(await one.call(subdocArrayPushLast, '', '1', { ...only, key: 'list' }), 'success')
  t.equal(await one.get('list'), 'success [1]')
  t.equal(await one.call(subdocArrayPushLast, '', '1', { ...only, key: 'list' }), 'keyExists')
  const refused = { ...make, key: 'none' }
  t.equal(await one.call(subdocDictUpsert, 'a[0]', '1', refused), 'subdocPathInvalid')
  t.equal(await one.get('none'), 'keyNotFound')
  const withCas = { ...make, key: 'none', cas: 5n }
  t.equal(await one.call(subdocCounter, 'n', '1', withCas), 'keyNotFound')
  const frame = await one.client.call({ opcode: Opcode.get, key: 'k' })
  t.equal(frame.datatype, Datatype.json)
})

t.test('expiry and flags: given, kept, or forgotten', async t => {
  const clock = new ManualClock()
  const { one } = await subdocScene(t, { clock })
  const expiry = async () => (await one.lookup([[subdocGet, '$document.exptime', '', 4]])).at(1)
  const flags = async () =>
    decodeFlagsExtras(await one.client.call({ opcode: Opcode.get, key: 'k' }))
  const nowSeconds = Math.floor(clock.nowMs() / 1000)
  const make = { docFlags: makeDocument, expiry: 100, userFlags: 0x0200_0006 }
  t.equal(await one.call(subdocDictUpsert, 'a', '1', make), 'success')
  t.equal(await expiry(), String(nowSeconds + 100))
  t.equal(await flags(), 0x0200_0006)
  const framing = encodeRequestFraming({ preserveExpiry: true })
  t.equal(await one.call(subdocDictUpsert, 'a', '2', { framing, expiry: 7 }), 'success')
  t.equal(await expiry(), String(nowSeconds + 100))
  t.equal(await one.call(subdocDictUpsert, 'a', '3'), 'success')
  t.equal(await expiry(), '0')
  t.equal(await flags(), 0x0200_0006)
  t.equal(await one.call(subdocDictUpsert, 'a', '3', { expiry: 10 }), 'success')
  clock.advance(11_000)
  t.equal(await one.call(subdocGet, 'a'), 'keyNotFound')
  t.equal(await one.call(subdocDictUpsert, 'b', '1', { docFlags: add }), 'success')
  t.equal(await one.get(), 'success {"b":1}')
})

t.test('a locked document shows no cas and is changed by its holder alone', async t => {
  const { one } = await subdocScene(t)
  await one.set('{"a":1}')
  const locked = await one.client.call({ opcode: Opcode.getLocked, key: 'k' })
  t.equal((await one.frame(subdocGet, 'a')).cas, 2n ** 64n - 1n)
  t.equal(await one.call(subdocReplace, 'a', '2'), 'locked')
  t.equal(await one.call(subdocReplace, 'a', '2', { cas: 1n }), 'locked')
  t.equal(await one.call(subdocReplace, 'a', '2', { cas: locked.cas }), 'success')
  await one.client.call({ opcode: Opcode.getLocked, key: 'k' })
  await one.hello(Feature.xattr)
  t.equal(await one.call(subdocReplace, 'a', '3'), 'temporaryFailure')
})

t.test('several lookups are answered together, each with its status', async t => {
  const { one } = await subdocScene(t)
  await one.set('{"a":1,"b":[]}')
  const specs: Spec[] = [
    [subdocGet, 'a'],
    [subdocExists, 'b'],
    [subdocGetCount, 'b'],
    [Opcode.get, ''],
  ]
  t.same(await one.lookup(specs), ['success', '1', '', '0', '{"a":1,"b":[]}'])
  t.same(await one.lookup([...specs.slice(0, 1), [subdocGet, 'x'], [subdocGet, 'b.c']]), [
    'subdocMultiPathFailure',
    '1',
    'subdocPathNotFound',
    'subdocPathMismatch',
  ])
  t.same(await one.lookup([[subdocGet, 'a']], { key: 'none' }), ['keyNotFound'])
  await one.set('text')
  t.same(
    await one.lookup([
      [subdocGet, 'a'],
      [Opcode.get, ''],
    ]),
    ['subdocMultiPathFailure', 'subdocDocumentNotJson', 'text'],
  )
})

t.test('several mutations happen together or not at all', async t => {
  const { one, bucket } = await subdocScene(t)
  await one.set('{"n":1,"list":[]}')
  const specs: Spec[] = [
    [subdocDictUpsert, 'a.b', '1', makeParents],
    [subdocCounter, 'n', '41'],
    [subdocArrayPushLast, 'list', '1,2'],
    [subdocCounter, 'a.b', '-1'],
    [subdocDelete, 'list[0]'],
  ]
  t.same(await one.mutate(specs), ['success', '1 42', '3 0'])
  t.equal(await one.get(), 'success {"n":42,"list":[2],"a":{"b":0}}')
  const { highSeqno } = bucket.vbucket(0)!
  t.same(await one.mutate([...specs, [subdocReplace, 'x', '1'], [subdocDictAdd, 'n', '1']]), [
    'subdocMultiPathFailure',
    '5 subdocPathNotFound',
  ])
  t.equal(bucket.vbucket(0)!.highSeqno, highSeqno)
  t.equal(await one.get(), 'success {"n":42,"list":[2],"a":{"b":0}}')
})

t.test('a whole document is set, added and deleted among other paths', async t => {
  const { one } = await subdocScene(t)
  const make = { docFlags: makeDocument }
  t.same(await one.mutate([[Opcode.set, '', 'no json']]), ['keyNotFound'])
  t.same(await one.mutate([[Opcode.set, '', 'no json']], make), ['success'])
  t.equal(await one.get(), 'success no json')
  t.same(
    await one.mutate([
      [Opcode.set, '', '{"a":1}'],
      [subdocDictAdd, 'b', '2'],
    ]),
    ['success'],
  )
  t.equal(await one.get(), 'success {"a":1,"b":2}')
  t.equal((await one.client.call({ opcode: Opcode.get, key: 'k' })).datatype, Datatype.json)
  t.same(await one.mutate([[Opcode.add, '', '1']]), [
    'subdocMultiPathFailure',
    '0 subdocPathExists',
  ])
  t.same(await one.mutate([[Opcode.add, '', '1']], { docFlags: add, key: 'new' }), ['success'])
  t.equal(await one.get('new'), 'success 1')
  t.same(await one.mutate([[Opcode.delete, '']]), ['success'])
  t.equal(await one.get(), 'keyNotFound')
  t.same(await one.mutate([[Opcode.delete, '']]), ['keyNotFound'])
})

t.test('requests that contradict themselves are refused', async t => {
  const { one } = await subdocScene(t)
  await one.set('{"a":1}')
  const { invalidArguments: invalid, subdocInvalidCombination: combination } = Status
  const single = async (...asked: Parameters<SubdocClient['frame']>) =>
    (await one.frame(...asked)).status
  t.equal(await single(subdocGet, ''), invalid, 'no path')
  t.equal(await single(subdocGet, 'a'.repeat(1025)), invalid, 'a path too long')
  t.equal(await single(subdocGet, 'a', 'x'), invalid, 'a value that is not taken')
  t.equal(await single(subdocReplace, 'a'), invalid, 'no value')
  t.equal(await single(subdocGet, 'a', '', { pathFlags: makeParents }), invalid)
  t.equal(await single(subdocGet, 'a', '', { docFlags: makeDocument }), invalid)
  t.equal(await single(subdocGet, 'a', '', { docFlags: 0x40 }), invalid)
  t.equal(await single(subdocGet, 'a', '', { expiry: 1 }), invalid, 'lookups have no expiry')
  t.equal(await single(subdocDictAdd, 'b', '1', { docFlags: makeDocument | add }), invalid)
  t.equal(await single(subdocDictAdd, 'b', '1', { docFlags: add, cas: 1n }), invalid)
  t.equal(await single(subdocReplace, 'a', '1', { docFlags: makeDocument }), invalid)
  const long = await one.frame(subdocGet, 'a')
  t.equal(long.status, Status.success, 'the connection lives')

  const lookup = async (...specs: Spec[]) => (await one.lookup(specs))[0]
  t.equal(await lookup(), statusName(combination))
  t.equal(await lookup(...Array<Spec>(17).fill([subdocGet, 'a'])), statusName(combination))
  t.equal(await lookup(...Array<Spec>(16).fill([subdocGet, 'a'])), 'success')
  t.equal(await lookup([subdocReplace, 'a']), statusName(combination))
  t.equal(await lookup([Opcode.noop, '']), statusName(combination))
  t.equal(await lookup([Opcode.get, 'a']), statusName(invalid))
  const mutate = async (...specs: Spec[]) => (await one.mutate(specs))[0]
  t.equal(await mutate([subdocGet, 'a']), statusName(combination))
  t.equal(await mutate([Opcode.delete, ''], [subdocDelete, 'a']), statusName(combination))
  t.equal(await mutate([subdocDelete, 'a'], [Opcode.delete, '']), statusName(combination))
  const cut = await one.multiFrame(Opcode.subdocMultiMutation, Buffer.from([0xc8, 0, 0, 1]), {})
  t.equal(cut.status, invalid)
  t.match(cut.value().toString(), /cut off/)
})

t.test('a document that grows too large is refused and stays as it was', async t => {
  const { one } = await subdocScene(t, { settings: { valueBytesMax: 2000 } })
  await one.set(`{"a":"${'x'.repeat(1500)}"}`)
  t.equal(await one.call(subdocDictUpsert, 'b', `"${'y'.repeat(600)}"`), 'tooLarge')
  t.equal(await one.call(subdocDictUpsert, 'b', `"${'y'.repeat(300)}"`), 'success')
})

t.test('lookups go to replicas if they say so, mutations never', async t => {
  const { one, bucket } = await subdocScene(t)
  await one.set('{"a":1}')
  const replica = { docFlags: SubdocDocFlag.replicaRead }
  t.equal(await one.call(subdocGet, 'a', '', replica), 'notMyVbucket')
  await bucket.setState(0, VbucketState.replica)
  t.equal(await one.call(subdocGet, 'a', '', replica), 'success 1')
  t.equal(await one.call(subdocGet, 'a'), 'notMyVbucket')
  t.same(await one.lookup([[subdocGet, 'a']], replica), ['success', '1'])
  t.equal(await one.call(subdocReplace, 'a', '1'), 'notMyVbucket')
})

t.test('a mutation waits for the disk when it has to be durable', async t => {
  const { one, bucket } = await subdocScene(t)
  await one.set('{"n":1}')
  const framing = encodeRequestFraming({ durabilityLevel: 3 })
  t.equal(await one.call(subdocCounter, 'n', '1', { framing }), 'success 2')
  t.ok(bucket.vbucket(0)!.persistedSeqno >= 2)
  t.equal(await one.call(subdocReplace, 'n', '1', { framing }), 'success')
  t.same(await one.mutate([[subdocCounter, 'n', '1']], { framing }), ['success', '0 2'])
  t.equal(await one.call(subdocGet, 'n', '', { framing }), 'invalidArguments')
})
