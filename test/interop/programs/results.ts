/**
 * What each client is known to do, as `docs/compatibility.json` has it: a client that does less
 * than that fails its test. With INTEROP_RECORD=true the results are kept instead, for a new one to be made.
 */
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Test } from 'tap'
import type { FeatureResult } from './features.ts'

const root = resolve(import.meta.dirname, '../../../..')
export const compatibilityFile = join(root, 'docs/compatibility.json')
export const recordFolder = join(root, '.cache/interop/results')

export type ClientName =
  'node-sdk' | 'python-sdk' | 'java-sdk' | 'java-dcp' | 'gocbcore' | 'cbdatasource'
export type Outcome = Omit<FeatureResult, 'feature'>
/** By client and feature. */
export type Compatibility = Record<string, Record<string, Outcome>>

export function readCompatibility(): Compatibility {
  return JSON.parse(readFileSync(compatibilityFile, 'utf8')) as Compatibility
}

/** Without what differs from run to run: an error is told by its name. */
function outcomeOf({ result, detail }: FeatureResult): Outcome {
  return { result, detail: /^\w*/.exec(detail)![0] }
}

export function checkResults(t: Test, client: ClientName, results: readonly FeatureResult[]): void {
  const outcomes = Object.fromEntries(results.map(each => [each.feature, outcomeOf(each)]))
  if (process.env['INTEROP_RECORD'] === 'true') return record(client, outcomes)
  const known = readCompatibility()[client] ?? {}
  for (const { feature, result, detail } of results) {
    const expected = known[feature]
    const isAsKnown = expected !== undefined && (result === 'works' || result === expected.result)
    t.ok(isAsKnown, `${client}, ${feature}: ${result} ${detail}`)
  }
}

function record(client: ClientName, outcomes: Record<string, Outcome>): void {
  mkdirSync(recordFolder, { recursive: true })
  const path = join(recordFolder, `${client}.json`)
  const before = existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as object) : {}
  writeFileSync(path, JSON.stringify({ ...before, ...outcomes }))
}
