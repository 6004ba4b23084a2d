import t from 'tap'
import {
  Datatype,
  datatypeName,
  Feature,
  featureMeaning,
  featureName,
  isFeature,
  isMagic,
  isOpcode,
  isStatus,
  isVbucketState,
  Magic,
  Opcode,
  opcodeName,
  opcodeTable,
  Status,
  statusName,
  statusRetry,
  statusTable,
  statusText,
  StreamEndReason,
  streamEndReasonName,
  VbucketState,
  vbucketStateName,
} from '../../protocol/index.ts'

const tables = { Opcode, Status, Feature, Magic, VbucketState, StreamEndReason, Datatype }

t.test('no table gives one number two names', t => {
  for (const [name, table] of Object.entries(tables)) {
    const codes = Object.values(table)
    t.equal(new Set(codes).size, codes.length, name)
  }
  t.end()
})

t.test('numbers have names, and unknown numbers are told as such', t => {
  t.equal(opcodeName(0x57), 'dcpMutation')
  t.equal(opcodeName(0xff), 'opcode 0xff')
  t.equal(opcodeName(0x4f), 'opcode 0x4f')
  t.equal(statusName(0x86), 'temporaryFailure')
  t.equal(statusName(0x0199), 'status 0x199')
  t.equal(featureName(0x12), 'collections')
  t.equal(featureName(0x01), 'feature 0x01')
  t.equal(datatypeName(0), 'raw')
  t.equal(datatypeName(7), 'json,snappy,xattr')
  t.equal(datatypeName(0x41), 'json,0x40')
  t.equal(vbucketStateName(VbucketState.pending), 'pending')
  t.equal(vbucketStateName(0), 'state 0')
  t.equal(streamEndReasonName(StreamEndReason.slow), 'slow')
  t.equal(streamEndReasonName(99), 'reason 99')
  t.end()
})

t.test('membership is known for each number a field can hold', t => {
  const members = (is: (code: number) => boolean, limit: number) =>
    Array.from({ length: limit }, (_, code) => code).filter(is)
  const sorted = (table: object) => (Object.values(table) as number[]).sort((a, b) => a - b)
  t.same(members(isMagic, 256), sorted(Magic))
  t.same(members(isOpcode, 256), sorted(Opcode))
  t.same(members(isFeature, 65536), sorted(Feature))
  t.same(members(isStatus, 65536), sorted(Status))
  t.same(members(isVbucketState, 256), sorted(VbucketState))
  t.end()
})

t.test('each row has a meaning: one sentence', t => {
  const meanings = [
    ...opcodeTable.map(row => row.meaning),
    ...statusTable.map(row => row.meaning),
    ...Object.values(featureMeaning),
  ]
  t.same(
    meanings.filter(meaning => !/^[A-Z].*[.?]$/.test(meaning)),
    [],
  )
  t.equal(opcodeTable.length, Object.keys(Opcode).length)
  t.equal(statusTable.length, Object.keys(Status).length)
  t.end()
})

t.test('errors carry the texts that memcached’s clients look for', t => {
  t.equal(statusText(Status.keyNotFound), 'Not found')
  t.equal(statusText(Status.keyExists), 'Data exists for key.')
  t.equal(statusText(Status.tooLarge), 'Too large.')
  t.equal(statusText(Status.invalidArguments), 'Invalid arguments')
  t.equal(statusText(Status.notStored), 'Not stored.')
  t.equal(statusText(Status.badDelta), 'Non-numeric server-side value for incr or decr')
  t.equal(statusText(Status.unknownCommand), 'Unknown command')
  t.equal(statusText(Status.outOfMemory), 'Out of memory')
  t.equal(statusText(Status.rollback).endsWith('.'), true, 'others tell their meaning')
  t.equal(statusText(0xfff0), 'status 0xfff0')
  t.end()
})

t.test('a status says what to do next', t => {
  t.equal(statusRetry(Status.temporaryFailure), 'later')
  t.equal(statusRetry(Status.notMyVbucket), 'after-map')
  t.equal(statusRetry(Status.keyExists), 'never')
  t.equal(statusRetry(0xff00), 'never')
  t.end()
})
