import { collectDefaultMetrics, Counter, Gauge, Registry, type Histogram } from 'prom-client'

/** One value of a metric, with the labels that tell it from its siblings. */
export interface Sample<Label extends string> {
  readonly labels: Readonly<Record<Label, string | number>>
  readonly value: number
}

/** Durations counted in places, as hot paths do: place n lies below the n-th bound. */
export interface CountedDurations<Label extends string> {
  readonly labels: Readonly<Record<Label, string | number>>
  /** One for each bound, and a last one for what lies beyond them. */
  readonly counts: readonly number[]
  readonly sumSeconds: number
}

interface Description<Label extends string> {
  readonly name: string
  readonly help: string
  readonly labels?: readonly Label[]
}

/**
 * The metrics of one daemon. Values live in the daemon's parts as plain numbers and are read when
 * somebody scrapes: between scrapes metrics cost nothing.
 */
export class MetricsRegistry {
  readonly #registry = new Registry()

  constructor() {
    // Process memory, CPU, open files, event-loop lag and garbage collections, by their usual names.
    collectDefaultMetrics({ register: this.#registry })
  }

  get contentType(): string {
    return this.#registry.contentType
  }

  /** All metrics in Prometheus' text format. */
  text(): Promise<string> {
    return this.#registry.metrics()
  }

  /** Something that goes up and down. */
  gauge<Label extends string = never>(
    { name, help, labels = [] }: Description<Label>,
    read: () => Iterable<Sample<Label>>,
  ): void {
    const gauge = new Gauge({
      name,
      help,
      labelNames: [...labels],
      registers: [],
      collect() {
        this.reset()
        for (const sample of read()) this.set({ ...sample.labels }, sample.value)
      },
    })
    this.#registry.registerMetric(gauge)
  }

  /** Something that only grows while the process runs. */
  counter<Label extends string = never>(
    { name, help, labels = [] }: Description<Label>,
    read: () => Iterable<Sample<Label>>,
  ): void {
    const counter = new Counter({
      name,
      help,
      labelNames: [...labels],
      registers: [],
      collect() {
        this.reset()
        for (const sample of read()) this.inc({ ...sample.labels }, sample.value)
      },
    })
    this.#registry.registerMetric(counter)
  }

  /** Durations that the daemon counts by place itself; `bounds` in seconds, ascending. */
  histogram<Label extends string>(
    { name, help }: Description<Label>,
    bounds: readonly number[],
    read: () => Iterable<CountedDurations<Label>>,
  ): void {
    const metric = {
      name,
      help,
      type: 'histogram',
      aggregator: 'sum',
      get: async () => ({
        name,
        help,
        type: 'histogram',
        aggregator: 'sum',
        values: [...read()].flatMap(durations => histogramLines(name, bounds, durations)),
      }),
    }
    // prom-client's own histogram can only observe one value after the other; what a registry asks
    // of a metric is no more than this object has.
    this.#registry.registerMetric(metric as unknown as Histogram)
  }
}

function histogramLines<Label extends string>(
  name: string,
  bounds: readonly number[],
  { labels, counts, sumSeconds }: CountedDurations<Label>,
) {
  let below = 0
  const buckets = [...bounds, '+Inf'].map((le, place) => {
    below += counts[place] ?? 0
    return { metricName: `${name}_bucket`, labels: { ...labels, le }, value: below }
  })
  return [
    ...buckets,
    { metricName: `${name}_sum`, labels, value: sumSeconds },
    { metricName: `${name}_count`, labels, value: below },
  ]
}

/** The one sample of a metric without labels. */
export function only(value: number): Sample<never>[] {
  return [{ labels: {}, value }]
}

/** One reading serves all metrics of a scrape, which a registry collects in one turn. */
export function perScrape<Value>(read: () => Value): () => Value {
  let value: Value | undefined
  return () => {
    if (value === undefined) {
      value = read()
      queueMicrotask(() => {
        value = undefined
      })
    }
    return value
  }
}
