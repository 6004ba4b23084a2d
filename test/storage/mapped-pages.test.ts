import t, { type Test } from 'tap'
import { openEnvironment, type Environment } from '../../src/storage/environment.ts'
import { MappedPages, mappedBytes } from '../../src/storage/mapped-pages.ts'

const valueBytes = 8000
const values = 4000
const MiB = 2 ** 20

t.test('pages beyond the limit are given back, and read as before', async t => {
  const { directory, environment } = openFilled(t)
  const pages = pagesOf(directory, 0)
  readAll(environment)
  const before = mappedBytes()
  const givenBack = await pages.bound()
  t.ok(givenBack > 24 * MiB, `${givenBack} bytes of 32 MB were given back`)
  t.ok(before - mappedBytes() > 24 * MiB, 'the process has them no more')
  t.equal(readAll(environment), values, 'every value is as it was')
})

t.test('a snapshot that is being read outlives it', async t => {
  const { directory, environment } = openFilled(t)
  const pages = pagesOf(directory, 0)
  const transaction = environment.pin()
  t.teardown(() => transaction.done())
  fill(environment, 1)
  t.ok((await pages.bound()) > 0)
  for (let seqno = 1; seqno <= values; seqno++) {
    const value = environment.blocks.getBinaryFast({ vbid: 0, seqno }, { transaction })
    if (value?.[0] !== seqno % 256) t.fail(`value ${seqno} is not that of the snapshot`)
  }
})

t.test('what is within the limit stays', async t => {
  const { directory, environment } = openFilled(t)
  const pages = pagesOf(directory, 1024 * MiB)
  readAll(environment)
  const before = mappedBytes()
  t.equal(await pages.bound(), 0)
  t.ok(mappedBytes() >= before)
})

t.test('the more is given back, the longer nothing is', async t => {
  const { directory, environment } = openFilled(t)
  let nowMs = 0
  const pages = pagesOf(directory, 0, () => nowMs)
  readAll(environment)
  const givenBack = await pages.bound()
  readAll(environment)
  nowMs += 90
  t.equal(await pages.bound(), 0, 'too soon')
  nowMs += (givenBack / MiB) * 4
  t.ok((await pages.bound()) > 0)
})

t.test('nothing is touched once its environments may be closed', async t => {
  const { directory, environment } = openFilled(t)
  const pages = pagesOf(directory, 0)
  readAll(environment)
  pages.close()
  t.equal(await pages.bound(), 0)
})

function pagesOf(directory: string, limitBytes: number, monotonicMs = () => performance.now()) {
  return new MappedPages({ directories: [directory], limitBytes, monotonicMs })
}

function openFilled(t: Test): { directory: string; environment: Environment } {
  const directory = t.testdir({})
  const options = { directory, mapSizeBytes: 2 ** 30, readerSlotsMax: 10, create: true }
  const environment = openEnvironment(options)
  t.teardown(() => environment.close())
  fill(environment, 0)
  return { directory, environment }
}

/** Values that begin with their number and `more`. */
function fill(environment: Environment, more: number): void {
  environment.write(() => {
    for (let seqno = 1; seqno <= values; seqno++) {
      environment.blocks.putSync({ vbid: 0, seqno }, Buffer.alloc(valueBytes, seqno + more))
    }
  })
  environment.refresh()
}

/** Returns how many are there and whole. */
function readAll(environment: Environment): number {
  let whole = 0
  for (let seqno = 1; seqno <= values; seqno++) {
    const value = environment.blocks.getBinaryFast({ vbid: 0, seqno })
    if (value?.length === valueBytes && value[valueBytes - 1] === seqno % 256) whole++
  }
  return whole
}
