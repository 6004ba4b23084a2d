import { strict as assert } from 'node:assert'
import {
  closeSync,
  cpSync,
  existsSync,
  openSync,
  readFileSync,
  statSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { Status } from '../../protocol/status.ts'
import { OperatorError } from '../../src/errors.ts'
import { silentLog, type Log } from '../../src/log.ts'
import { checkEnvironment } from '../../src/storage/check.ts'
import { closeStore, openStore, storeFormat } from '../../src/storage/store.ts'
import { committed, openBuckets, read, set, smallSettings } from '../support/bucket.ts'
import { checkStore } from '../support/check-store.ts'
import { wholeForm } from '../support/frame-form.ts'

const bucketPath = (directory: string) => join(directory, 'buckets', 'default')
const dataFile = (directory: string) => join(bucketPath(directory), 'environment-0', 'data.mdb')

/** A store of one environment with some hundred documents, closed. */
async function makeStore(t: Test): Promise<string> {
  const directory = t.testdir()
  const { buckets, bucket } = await openBuckets(t, directory, { settings: { environments: 1 } })
  for (let i = 0; i < 300; i++) {
    const value = `value-${i}-`.padEnd(i % 10 === 0 ? 9000 : 300, 'x')
    set(bucket, bucket.vbucket(i % 16)!, `document-${i}`, value)
  }
  await buckets.close()
  return directory
}

async function codeOfOpening(directory: string): Promise<string> {
  const error = await openStore({
    ...smallSettings,
    directory: bucketPath(directory),
    nowSeconds: 0,
  }).then(
    store => closeStore(store),
    (error: unknown) => error,
  )
  if (error === undefined) return 'opened'
  assert.ok(error instanceof OperatorError, 'an error for people')
  assert.ok(error.hint.length > 0)
  return error.code
}

function overwrite(path: string, at: number, bytes: Buffer): void {
  const file = openSync(path, 'r+')
  writeSync(file, bytes, 0, bytes.length, at)
  closeSync(file)
}

/** A log that keeps its error lines. */
function errorLog(): { log: Log; lines: string[] } {
  const lines: string[] = []
  const log: Log = {
    ...silentLog,
    error: (fields, message) => lines.push(`${message} ${JSON.stringify(fields)}`),
    child: () => log,
  }
  return { log, lines }
}

t.test('a damaged document is refused with one log line, the others are read on', async t => {
  const directory = await makeStore(t)
  const path = dataFile(directory)
  const bytes = readFileSync(path)
  // In the value of one, in the key of another's record, in the entry that names a third.
  const value = bytes.indexOf('value-117-') + 50
  const record = bytes.indexOf('document-42value-42-')
  const entries = indexEntriesOf(bytes, '\u0000document-133')
  assert.ok(value > 50 && record > 0 && entries.length > 0)
  overwrite(path, value, Buffer.from('?'))
  overwrite(path, record, Buffer.from('?'))
  // The low byte of the seqno in the entry.
  for (const entry of entries) overwrite(path, entry + 17, Buffer.of(0xee))
  const { log, lines } = errorLog()
  const { buckets, bucket } = await openBuckets(t, directory, { log })
  for (let i = 0; i < 300; i++) {
    const vbucket = bucket.vbucket(i % 16)!
    const isDamaged = [117, 42, 133].includes(i)
    if (!isDamaged) {
      assert.ok(read(bucket, vbucket, `document-${i}`)?.startsWith(`value-${i}-`))
      continue
    }
    lines.length = 0
    assert.throws(() => read(bucket, vbucket, `document-${i}`), { status: Status.internalError })
    assert.equal(lines.length, 1)
    assert.match(lines[0]!, new RegExp(`"vbid":${i % 16}\\b`))
  }
  const form = { ...wholeForm, opaque: 1 }
  const request = { holder: 'c', reason: 'test', atLeastSeqno: 1 }
  const reference = await bucket.snapshots.pin(117 % 16, request)
  const scan = reference.scan({ afterSeqno: 0, toSeqno: reference.persistedSeqno, form })
  await assert.rejects(
    async () => {
      while (!(await bucket.snapshots.read([scan], 2 ** 20))[0]!.done);
    },
    { code: 'store-damaged' },
  )
  const other = await bucket.snapshots.pin(1, request)
  const whole = other.scan({ afterSeqno: 0, toSeqno: other.persistedSeqno, form })
  let frames = 0
  for (;;) {
    const [slab] = await bucket.snapshots.read([whole], 2 ** 20)
    frames += slab!.frames
    if (slab!.done) break
  }
  t.equal(frames, 19)
  reference.release()
  other.release()
  // Writing over what is damaged mends it.
  set(bucket, bucket.vbucket(117 % 16)!, 'document-117', 'new')
  await committed(bucket)
  t.equal(read(bucket, bucket.vbucket(117 % 16)!, 'document-117'), 'new')
  t.equal(bucket.failure, undefined)
  await buckets.close()
})

/** Where the entries of a key begin that has no flags and no expiry: in pages not in use any more, too. */
function indexEntriesOf(bytes: Buffer, key: string): number[] {
  const found: number[] = []
  for (let at = bytes.indexOf(key); at >= 0; at = bytes.indexOf(key, at + 1)) {
    const isEntry = bytes.readUInt16BE(at - 34 + 4) === 34 + key.length
    if (isEntry) found.push(at - 34)
  }
  return found
}

t.test('a page that reads as zeros damages what it held, nothing else', async t => {
  const directory = await makeStore(t)
  const path = dataFile(directory)
  const bytes = readFileSync(path)
  const leaf = 2
  const tables: number[] = []
  for (let page = 2; page < bytes.length / 4096; page++) {
    const isLeaf = bytes.readUInt16LE(page * 4096 + 18) === leaf
    if (isLeaf && bytes.subarray(page * 4096, (page + 1) * 4096).includes('document-')) {
      tables.push(page)
    }
  }
  assert.ok(tables.length > 10)
  for (const page of [tables[0]!, tables[tables.length >> 1]!, tables.at(-1)!]) {
    overwrite(path, page * 4096, Buffer.alloc(4096))
  }
  const { bucket, buckets } = await openBuckets(t, directory)
  let found = 0
  let refused = 0
  for (let i = 0; i < 300; i++) {
    try {
      if (read(bucket, bucket.vbucket(i % 16)!, `document-${i}`)) found++
    } catch (error) {
      assert.equal((error as { status?: Status }).status, Status.internalError)
      refused++
    }
  }
  t.equal(found + refused, 300)
  t.ok(found > 150, `${found} of 300 are readable`)
  t.ok(refused > 0)
  await buckets.close()
})

t.test('a flipped bit in the headers of the data file is refused or without effect', async t => {
  const directory = await makeStore(t)
  const path = dataFile(directory)
  const whole = readFileSync(path)
  const codes = new Map<string, number>()
  for (const page of [0, 1]) {
    for (let at = 0; at < 168; at++) {
      const damaged = Buffer.from(whole)
      const place = page * 4096 + at
      damaged[place] = damaged[place]! ^ (1 << ((at * 5 + page) & 7))
      writeFileSync(path, damaged)
      const code = await codeOfOpening(directory)
      codes.set(code, (codes.get(code) ?? 0) + 1)
      if (code === 'opened' && !isRoot(at)) {
        writeFileSync(path, damaged)
        assert.deepEqual(await problemsOf(directory), [], `page ${page}, byte ${at}`)
      }
    }
  }
  t.comment(Object.fromEntries(codes))
  t.same([...codes.keys()].sort(), ['format-newer', 'opened', 'store-damaged'])
  writeFileSync(path, whole)
  t.same(await checkStore(directory), [])
})

/** The roots of the two trees: flipped, one may name the root of an earlier commit. */
function isRoot(at: number): boolean {
  return (at >= 88 && at < 96) || (at >= 136 && at < 144)
}

async function problemsOf(directory: string): Promise<string[]> {
  const store = await openStore({
    ...smallSettings,
    directory: bucketPath(directory),
    nowSeconds: 0,
  })
  const problems = store.environments.flatMap(environment => checkEnvironment(environment))
  await closeStore(store)
  return problems
}

t.test('a data file that was cut is refused, wherever it was cut, and left as it is', async t => {
  const directory = await makeStore(t)
  const path = dataFile(directory)
  const whole = readFileSync(path)
  for (const share of [0.001, 0.01, 0.1, 0.5, 0.9]) {
    const size = Math.floor(whole.length * share)
    writeFileSync(path, whole)
    truncateSync(path, size)
    t.equal(await codeOfOpening(directory), 'store-damaged', `cut to ${share}`)
    t.equal(statSync(path).size, size)
  }
  writeFileSync(path, '')
  t.equal(await codeOfOpening(directory), 'store-damaged')
  writeFileSync(path, whole)
  t.equal(await codeOfOpening(directory), 'opened')
})

t.test('a file that lacks but free pages at its end is whole', async t => {
  const directory = t.testdir()
  const settings = { environments: 1 }
  const first = await openBuckets(t, directory, { settings })
  // Free pages, too few for what follows, so that nothing else is put behind it.
  for (let i = 0; i < 3; i++)
    set(first.bucket, first.bucket.vbucket(3)!, `key-${i}`, 'x'.repeat(9000))
  await first.bucket.deleteVbucket(3)
  for (let i = 0; i < 3; i++) {
    set(first.bucket, first.bucket.vbucket(1)!, 'kept', `${i}`)
    await committed(first.bucket)
  }
  // What is written and removed in one transaction leaves its pages unwritten.
  const vbucket = first.bucket.vbucket(2)!
  for (let i = 0; i < 100; i++) set(first.bucket, vbucket, `key-${i}`, 'x'.repeat(50_000))
  await first.bucket.deleteVbucket(2)
  set(first.bucket, first.bucket.vbucket(1)!, 'kept', 'v')
  await committed(first.bucket)
  const path = dataFile(directory)
  const { allocatedBytes, liveBytes } = first.bucket.statistics().environments[0]!
  assert.ok(allocatedBytes - liveBytes > 4e6, 'most of it is free')
  await first.buckets.close()
  t.ok(statSync(path).size >= allocatedBytes, 'it is as long as its header says')
  // As a kill right after the commit leaves it.
  truncateSync(path, lastWritten(readFileSync(path)))
  t.ok(statSync(path).size < allocatedBytes)
  const again = await openBuckets(t, directory, { settings })
  t.equal(read(again.bucket, again.bucket.vbucket(1)!, 'kept'), 'v')
  await again.buckets.close()
  t.same(await checkStore(directory), [])
})

/** Where the zeros at the end of a file begin, in whole pages. */
function lastWritten(bytes: Buffer): number {
  let end = bytes.length
  while (bytes.subarray(end - 4096, end).every(byte => byte === 0)) end -= 4096
  return end
}

t.test('a store of a newer format, a mixed one and a broken description are refused', async t => {
  const directory = await makeStore(t)
  const path = join(bucketPath(directory), 'bucket.json')
  const text = readFileSync(path, 'utf8')
  const description = JSON.parse(text) as Record<string, unknown>
  const changed = async (change: object | string) => {
    const content = typeof change === 'string' ? change : { ...description, ...change }
    writeFileSync(path, typeof content === 'string' ? content : JSON.stringify(content))
    return codeOfOpening(directory)
  }
  t.equal(await changed({ format: storeFormat + 1 }), 'format-newer')
  t.equal(await changed({ format: storeFormat - 1 }), 'format-older')
  t.equal(await changed({ uuid: 'another' }), 'store-mixed')
  t.equal(await changed({ environments: 2 }), 'store-damaged', 'there is no second one')
  t.equal(await changed({ environments: 0 }), 'store-damaged')
  t.equal(await changed({ vbuckets: 'many' }), 'store-damaged')
  t.equal(await changed('{"format":'), 'store-damaged')
  t.equal(await changed('null'), 'store-damaged')
  t.equal(await changed({}), 'opened')
  const other = join(bucketPath(directory), 'environment-1')
  cpSync(join(bucketPath(directory), 'environment-0'), other, { recursive: true })
  t.equal(await changed({ environments: 2 }), 'store-mixed', 'that is no second one')
  t.equal(await changed(''), 'store-damaged')
})

t.test('a pin of what cannot be read fails and holds nothing', async t => {
  const directory = await makeStore(t)
  const { bucket, buckets } = await openBuckets(t, directory)
  const path = dataFile(directory)
  const bytes = readFileSync(path)
  // Under the open map, in every copy of what is stored of a vbucket.
  for (let at = bytes.indexOf('"highSeqno"'); at >= 0; at = bytes.indexOf('"highSeqno"', at + 1)) {
    overwrite(path, at, Buffer.from('?'))
  }
  const request = { holder: 'c', reason: 'test', atLeastSeqno: 0 }
  await assert.rejects(bucket.snapshots.pin(1, request), OperatorError)
  t.same(bucket.snapshots.pins(), [])
  t.ok(read(bucket, bucket.vbucket(1)!, 'document-1'))
  await buckets.close()
})

t.test('one bucket that cannot be opened keeps the daemon from starting half', async t => {
  const directory = await makeStore(t)
  truncateSync(dataFile(directory), 20_000)
  await assert.rejects(openBuckets(t, directory), { code: 'store-damaged' })
  t.notOk(existsSync(join(directory, 'LOCK')), 'the directory is free again')
})
