import type { Kind } from './kinds.ts'
import type { options, SettingName } from './options.ts'

type ValueOf<Row> = Row extends { kind: Kind<infer Value> } ? Value : never

/** The effective settings: one value for each row of the option table. */
export type Settings = { readonly [Name in SettingName]: ValueOf<(typeof options)[Name]> }
