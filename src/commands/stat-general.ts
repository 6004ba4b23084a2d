import { Opcode } from '../../protocol/opcode.ts'
import { Status } from '../../protocol/status.ts'
import { version } from '../version.ts'
import type { AddStatistic } from './stat.ts'
import type { Session } from './session.ts'

const reads = [Opcode.get, Opcode.getq, Opcode.getk, Opcode.getkq]
const touches = [Opcode.touch, Opcode.gat, Opcode.gatq, Opcode.gatk, Opcode.gatkq]
const stores = [
  Opcode.set,
  Opcode.setq,
  Opcode.add,
  Opcode.addq,
  Opcode.replace,
  Opcode.replaceq,
  Opcode.append,
  Opcode.appendq,
  Opcode.prepend,
  Opcode.prependq,
]
const deletions = [Opcode.delete, Opcode.deleteq]
const increments = [Opcode.increment, Opcode.incrementq]
const decrements = [Opcode.decrement, Opcode.decrementq]
const compareAndSwaps = [...stores, ...deletions]

/** The names that memcached's tools look for, then those of Couchbase's. */
export function generalStatistics(session: Session, add: AddStatistic): Status {
  addProcess(session, add)
  addOperations(session, add)
  addBucket(session, add)
  return Status.success
}

function addProcess(session: Session, add: AddStatistic): void {
  const { node, clock } = session
  const nowMs = clock.nowMs()
  const { user, system } = process.cpuUsage()
  add('pid', process.pid)
  add('uptime', Math.floor((nowMs - node.startedAtMs) / 1000))
  add('time', Math.floor(nowMs / 1000))
  add('version', version)
  add('pointer_size', 64)
  add('rusage_user', (user / 1e6).toFixed(6))
  add('rusage_system', (system / 1e6).toFixed(6))
  add('mem_used', process.memoryUsage.rss())
  add('curr_connections', node.connections)
  add('total_connections', node.traffic.connectionsAccepted)
  add('rejected_connections', node.traffic.connectionsRefused)
  add('bytes_read', node.traffic.bytesRead)
  add('bytes_written', node.traffic.bytesWritten)
  add('threads', 1)
}

function addOperations(session: Session, add: AddStatistic): void {
  const { traffic } = session.node
  const all = (codes: readonly number[]) =>
    codes.reduce<number>((sum, code) => sum + traffic.answersOf(code), 0)
  const of = (codes: readonly number[], status: Status) =>
    codes.reduce<number>((sum, code) => sum + traffic.answer(code, status), 0)
  const hitsAndMisses = (name: string, codes: readonly number[]) => {
    add(`${name}_hits`, of(codes, Status.success))
    add(`${name}_misses`, of(codes, Status.keyNotFound))
  }
  add('cmd_get', all(reads))
  add('cmd_set', all(stores))
  add('cmd_touch', all(touches))
  add('cmd_flush', all([Opcode.flush, Opcode.flushq]))
  hitsAndMisses('get', reads)
  hitsAndMisses('delete', deletions)
  hitsAndMisses('incr', increments)
  hitsAndMisses('decr', decrements)
  hitsAndMisses('touch', touches)
  add('cas_badval', of(compareAndSwaps, Status.keyExists))
}

function addBucket(session: Session, add: AddStatistic): void {
  const { bucket } = session
  if (bucket === undefined) return
  const figures = bucket.statistics()
  let queued = 0
  for (const { highSeqno, persistedSeqno } of bucket.vbuckets())
    queued += highSeqno - persistedSeqno
  add('curr_items', figures.items)
  add('curr_items_tot', figures.items)
  add('curr_temp_items', 0)
  add('evictions', 0)
  add('ep_dbname', bucket.name)
  add('ep_version', version)
  add('ep_queue_size', queued)
  add('ep_flusher_todo', 0)
  add('ep_flusher_state', figures.failure === undefined ? 'running' : 'failing')
  add('ep_commit_num', figures.commits)
  add('ep_commit_time', Math.round(figures.lastCommitMs))
  add('ep_total_persisted', figures.records)
  add('ep_expired', figures.expired)
  add('ep_degraded_mode', 0)
  add('ep_uuid', bucket.uuid)
  add('ep_vb_total', [...bucket.vbuckets()].length)
  add('ep_tombstones', figures.tombstones)
  add('ep_document_bytes', figures.documentBytes)
  add('ep_max_size', figures.quotaBytes)
  add('ep_quota_refusals', figures.quotaRefusals)
  add('ep_purged', figures.purged)
  add('ep_unflushed_bytes', figures.unflushedBytes)
  add('ep_change_log_bytes', figures.changeLogBytes)
  add('ep_document_cache_bytes', figures.documentCacheBytes)
  add('ep_pressure', bucket.pressure)
}

/** As memcached's tests want to see them; nothing is ever evicted. */
export function settingsStatistics(session: Session, add: AddStatistic): Status {
  const { settings, address } = session.node
  add('maxconns', settings.connectionsMax)
  add('tcpport', address.port ?? address.tlsPort ?? 0)
  add('udpport', 0)
  add('inter', '127.0.0.1')
  add('domain_socket', 'NULL')
  add('evictions', 'off')
  add('cas_enabled', 'yes')
  add('flush_enabled', 'yes')
  add('detail_enabled', 'no')
  add('auth_enabled_sasl', 'no')
  add('num_threads', 1)
  add('key_size_max', settings.keyBytesMax)
  add('item_size_max', settings.valueBytesMax)
  add('vbuckets', settings.vbuckets)
  add('ack', settings.ack)
  return Status.success
}
