import type { DaemonProcess } from '../../test/support/start-daemon.ts'

export interface DemoMetrics {
  /** Bytes of frames that were sent on change streams. */
  sentBytes: number
  /** Tombstones that were purged. */
  purged: number
}

/** Reads what the demo reports from the daemon's metrics page. */
export async function readMetrics({ host, httpPort }: DaemonProcess): Promise<DemoMetrics> {
  const response = await fetch(`http://${host}:${httpPort}/metrics`)
  const lines = (await response.text()).split('\n')
  const sum = (name: string) =>
    lines
      .filter(line => line.startsWith(`${name} `) || line.startsWith(`${name}{`))
      .reduce((total, line) => total + Number(line.slice(line.lastIndexOf(' ') + 1)), 0)
  return {
    sentBytes: sum('holdfast_dcp_sent_bytes_total'),
    purged: sum('holdfast_bucket_purged_total'),
  }
}
