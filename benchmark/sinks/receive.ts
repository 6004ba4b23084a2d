/** Receives whole stores, with one client or several at a time, each a process of its own. */
import { cProgram, runForJson } from '../c-program.ts'
import type { MeasuredServer } from '../measured-load.ts'
import { processorSeconds, untilQuiet } from '../process-usage.ts'

const files = ['sink', 'dcp', 'redis', 'copy']
const sink = { name: 'sink', sources: files.map(name => `sinks/${name}.c`) }

export type SinkKind = 'dcp' | 'redis' | 'copy' | 'anything'

interface Printed {
  readonly documents: number
  readonly bytes: number
  readonly beginNs: number
  readonly endNs: number
}

export interface Received {
  readonly documentsPerSecond: number
  readonly bytesPerSecond: number
  /** Processor time of the server for each document that a client got. */
  readonly serverMicroseconds: number
}

export interface Sending extends Pick<MeasuredServer, 'port' | 'pid'> {
  readonly kind: SinkKind
  /** How many there are, for kinds that do not tell. */
  readonly documents: number
  readonly vbuckets?: number
}

/** From the first client's connecting to the last one's last byte. */
export async function receive(from: Sending, clients: number): Promise<Received> {
  const { kind, port, pid, documents, vbuckets = 0 } = from
  const program = await cProgram(sink)
  const args = [kind, port, vbuckets].map(String)
  const before = processorSeconds(pid)
  const all = (await Promise.all(
    Array.from({ length: clients }, () => runForJson(program, args)),
  )) as Printed[]
  await untilQuiet(pid)
  const processor = processorSeconds(pid) - before
  for (const one of all) {
    const isWhole = one.documents === documents || kind === 'redis' || kind === 'anything'
    if (!isWhole) throw new Error(`${kind}: ${one.documents} of ${documents} documents came`)
  }
  const begin = Math.min(...all.map(({ beginNs }) => beginNs))
  const seconds = (Math.max(...all.map(({ endNs }) => endNs)) - begin) / 1e9
  const bytes = all.reduce((sum, one) => sum + one.bytes, 0)
  return {
    documentsPerSecond: (clients * documents) / seconds,
    bytesPerSecond: bytes / seconds,
    serverMicroseconds: (1e6 * processor) / (clients * documents),
  }
}
