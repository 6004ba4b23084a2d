import type { DaemonProcess } from '../support/start-daemon.ts'

/** Reads the metrics page once: the value of a name, summed over its labels. */
export async function metric({ host, httpPort }: DaemonProcess): Promise<(name: string) => number> {
  const response = await fetch(`http://${host}:${httpPort}/metrics`)
  const lines = (await response.text()).split('\n')
  return name => {
    let sum = 0
    for (const line of lines) {
      const [series = '', value] = line.split(' ')
      if (series === name || series.startsWith(`${name}{`)) sum += Number(value)
    }
    return sum
  }
}
