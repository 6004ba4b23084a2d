import type { Access } from '../auth/access.ts'
import type { MetricsRegistry } from './registry.ts'

/** Who came in and who did not. */
export function registerAccess(registry: MetricsRegistry, access: Access): void {
  registry.counter(
    {
      name: 'holdfast_logins_total',
      help: 'Logins, by result: succeeded, failed, or refused unseen after too many failures.',
      labels: ['result'],
    },
    () => Object.entries(access.figures).map(([result, value]) => ({ labels: { result }, value })),
  )
}
