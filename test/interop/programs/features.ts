/** What a client's program says of each feature it tries: one line of JSON on standard output. */
export interface FeatureResult {
  readonly feature: string
  /** `refused`: the client says so itself, in a way that an application can expect. */
  readonly result: 'works' | 'refused' | 'fails'
  readonly detail: string
}

export type Feature = () => Promise<unknown>

/** Errors by which clients say that a server does not do something. */
const refusals = /^(FeatureNotAvailable|UnsupportedOperation|.*NotAvailable)/

/** Tries features one after the other; each has this long. */
export async function tryFeatures(features: Readonly<Record<string, Feature>>): Promise<void> {
  for (const [feature, attempt] of Object.entries(features)) {
    const result = await tryFeature(attempt)
    process.stdout.write(`${JSON.stringify({ feature, ...result })}\n`)
  }
}

async function tryFeature(attempt: Feature): Promise<Omit<FeatureResult, 'feature'>> {
  try {
    await attempt()
    return { result: 'works', detail: '' }
  } catch (error) {
    const { name, message } = error as Error
    if (refusals.test(name)) return { result: 'refused', detail: name }
    return { result: 'fails', detail: `${name}: ${message}` }
  }
}
