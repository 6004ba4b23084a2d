import type { Kind } from './kinds.ts'

/** A row of the table of settings. `flag` is the one name a person sees, see options.ts. */
export interface Option<Value = unknown> {
  readonly flag: string
  readonly kind: Kind<Value>
  readonly default: Value
  /** The default is at most this share of the machine's memory. */
  readonly memoryShareMax?: number
  /** One sentence for `--help` and the README: what it does and, where not plain, why the default. */
  readonly meaning: string
}
