import { existsSync, readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'
import t from 'tap'
import { LargePages } from '../../src/storage/large-pages.ts'

const MiB = 2 ** 20
const isLinux = existsSync('/sys/kernel/mm/transparent_hugepage/enabled')

/** Bytes of this process's memory for which large pages have been asked for. */
function advisedBytes(): number {
  let bytes = 0
  for (const area of readFileSync('/proc/self/smaps', 'latin1').split(/\n(?=[0-9a-f]+-)/)) {
    if (!/^VmFlags:.* hg\b/m.test(area)) continue
    bytes += Number(/^Size:\s+(\d+) kB$/m.exec(area)![1]) * 1024
  }
  return bytes
}

t.test(
  'memory that is worth it is asked to be in large pages, and holds what it held',
  { skip: !isLinux && 'this system has no large pages' },
  async t => {
    const before = advisedBytes()
    const pages = new LargePages()
    const small = Array.from({ length: 4 }, () => new SharedArrayBuffer(MiB))
    for (const memory of small) pages.useFor(memory)
    const first = new SharedArrayBuffer(16 * MiB)
    new Uint8Array(first).fill(7)
    pages.useFor(first)
    // The library is loaded now, and then told of what has been asked for meanwhile.
    while (advisedBytes() - before < 16 * MiB) await sleep(5)
    const second = new Uint32Array(MiB)
    pages.useFor(second.buffer)
    t.ok(advisedBytes() - before >= 20 * MiB)
    t.ok(advisedBytes() - before < 21 * MiB, 'what is small has no part in it')
    t.ok(new Uint8Array(first).every(byte => byte === 7))
  },
)
