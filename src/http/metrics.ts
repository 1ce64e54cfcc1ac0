import { limits } from '../schema/limits.ts'
import type { PrimaryStats } from '../store/primary.ts'
import type { Lag } from '../write/projection.ts'
import type { KeptAnswers } from './kept-answers.ts'

/** Upper bounds of the latency histogram, in seconds. */
const bounds = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5]

interface Series {
  readonly method: string
  readonly route: string
  readonly status: number
  count: number
  seconds: number
  /** How many were within each bound and not within the one before; the last are above all. */
  readonly buckets: number[]
}

/** Requests at one version with one key. */
interface VersionSeries {
  readonly version: string
  readonly key: string
  count: number
}

type SeriesByStatus = Map<number, Series>

/** Counts requests by what they were and how they ended; renders the Prometheus text format 0.0.4. */
export class Metrics {
  private readonly seriesByMethodByRoute = new Map<string, Map<string, SeriesByStatus>>()
  private readonly requestsByKeyByVersion = new Map<string, Map<string, VersionSeries>>()
  private versionSeries = 0
  /** What was counted last: most often the next request is like it, and to find it in the maps costs more than to count. */
  private last: Series | undefined
  private lastVersion: VersionSeries | undefined
  private readonly uptimeMs: () => number
  private readonly more: () => readonly string[]

  /** `elapsed` is a monotonic clock of milliseconds; `more` are lines about what the entry keeps beside the app. */
  constructor(elapsed: () => number, more: () => readonly string[] = () => []) {
    const start = elapsed()
    this.more = more
    this.uptimeMs = () => elapsed() - start
  }

  /** `route` is one of the app's own routes, never a caller's text. */
  record(method: string, route: string, status: number, milliseconds: number) {
    const { last } = this
    const isLast = last?.route === route && last.status === status && last.method === method
    const series = isLast ? last : this.seriesOf(method, route, status)
    this.last = series
    const seconds = milliseconds / 1000
    series.count++
    series.seconds += seconds
    let bucket = 0
    while (seconds > (bounds[bucket] ?? Number.POSITIVE_INFINITY)) bucket++
    series.buckets[bucket] = (series.buckets[bucket] ?? 0) + 1
  }

  /** A request at an API version, by its date, with a key, by its id; none is `anonymous`. Keys above the limit are `other`. */
  countVersion(version: string, key = 'anonymous') {
    const { lastVersion: last } = this
    const isLast = last?.version === version && last.key === key
    const series = isLast ? last : this.versionSeriesOf(version, key)
    this.lastVersion = series
    series.count++
  }

  private versionSeriesOf(version: string, key: string): VersionSeries {
    const byKey = this.requestsByKeyByVersion.get(version) ?? new Map<string, VersionSeries>()
    const known = byKey.get(key)
    if (known) return known
    if (key !== 'other' && this.versionSeries >= limits.versionSeriesMax) return this.versionSeriesOf(version, 'other')
    const series = { version, key, count: 0 }
    this.requestsByKeyByVersion.set(version, byKey.set(key, series))
    this.versionSeries++
    return series
  }

  private *versionLines(): Generator<string> {
    const name = 'perigee_version_requests_total'
    yield `# HELP ${name} Requests that this node itself answered, by API version and id of the key.`
    yield `# TYPE ${name} counter`
    for (const [version, byKey] of this.requestsByKeyByVersion)
      for (const [key, { count }] of byKey) yield `${name}{version="${version}",key="${key}"} ${count}`
  }

  private seriesOf(method: string, route: string, status: number): Series {
    const known = this.seriesByMethodByRoute.get(route)?.get(method)?.get(status)
    if (known) return known
    const byMethod = this.seriesByMethodByRoute.get(route) ?? new Map<string, SeriesByStatus>()
    const byStatus: SeriesByStatus = byMethod.get(method) ?? new Map()
    const series = { method, route, status, count: 0, seconds: 0, buckets: [...bounds, 0].fill(0) }
    this.seriesByMethodByRoute.set(route, byMethod.set(method, byStatus.set(status, series)))
    return series
  }

  private *labelled(): Generator<[labels: string, series: Series]> {
    for (const [route, byMethod] of this.seriesByMethodByRoute) {
      for (const [method, byStatus] of byMethod) {
        for (const [status, series] of byStatus)
          yield [`method="${method}",route="${route}",status="${status}"`, series]
      }
    }
  }

  /** `primary` is null where the node has none; `more` are lines of the same format. */
  render(gauges: {
    readonly seq: number | null
    readonly primary: PrimaryStats | null
    readonly kept: Pick<KeptAnswers, 'hits' | 'misses'>
    readonly more: readonly string[]
  }): string {
    const lines = [
      '# HELP perigee_http_request_duration_seconds Time from the first byte routed to the answer handed over.',
      '# TYPE perigee_http_request_duration_seconds histogram',
    ]
    for (const [labels, series] of this.labelled()) {
      let below = 0
      for (const [i, bound] of bounds.entries()) {
        below += series.buckets[i] ?? 0
        lines.push(`perigee_http_request_duration_seconds_bucket{${labels},le="${bound}"} ${below}`)
      }
      lines.push(`perigee_http_request_duration_seconds_bucket{${labels},le="+Inf"} ${series.count}`)
      lines.push(`perigee_http_request_duration_seconds_sum{${labels}} ${series.seconds}`)
      lines.push(`perigee_http_request_duration_seconds_count{${labels}} ${series.count}`)
    }
    lines.push(
      ...this.versionLines(),
      ...known('perigee_log_position', 'The number of the last change in the log.', gauges.seq),
      ...(gauges.primary ? writerLines(gauges.primary) : []),
      ...metric(
        'perigee_kept_answers_hits_total',
        'counter',
        'Reads that were answered from memory.',
        gauges.kept.hits,
      ),
      ...metric('perigee_kept_answers_misses_total', 'counter', 'Reads that were not.', gauges.kept.misses),
      ...metric('perigee_uptime_seconds', 'gauge', 'Seconds since the process began to serve.', this.uptimeMs() / 1000),
      ...gauges.more,
      ...this.more(),
    )
    return `${lines.join('\n')}\n`
  }
}

function writerLines({ waiting, groups, batches }: PrimaryStats): string[] {
  const help = 'Batches that wait for the writer or are being committed.'
  return [
    ...metric('perigee_writes_waiting', 'gauge', help, waiting),
    ...metric('perigee_commit_groups_total', 'counter', 'Transactions committed; one fsync each.', groups),
    ...metric('perigee_commit_batches_total', 'counter', 'Batches that went into them.', batches),
  ]
}

/** What is known of the read models; `now` is in milliseconds since 1970. */
export function projectionLines(lags: readonly Lag[], now: number): string[] {
  const gauge = (name: string, help: string, of: (lag: Lag) => number) => [
    `# HELP perigee_projection_${name} ${help}`,
    `# TYPE perigee_projection_${name} gauge`,
    ...lags.map((lag) => `perigee_projection_${name}{projection="${lag.name}"} ${of(lag)}`),
  ]
  if (lags.length === 0) return []
  const seconds = ({ since }: Lag) => (since === null ? 0 : Math.max(0, (now - Date.parse(since)) / 1_000))
  return [
    ...gauge(
      'lag_changes',
      `Changes of its sources that a read model has not read, ${limits.lagChangesMax} at most.`,
      ({ changes }) => changes,
    ),
    ...gauge('lag_seconds', 'How long ago the first of them was made.', seconds),
    ...gauge('rebuilding', 'Whether its rows are being made anew, beside those that serve.', ({ phase }) =>
      phase === 'follow' ? 0 : 1,
    ),
  ]
}

/** A gauge, left out where its value is not known. */
export function known(name: string, help: string, value: number | null): string[] {
  return value === null ? [] : metric(name, 'gauge', help, value)
}

/** One number with what it is, in the text format. */
export function metric(name: string, type: string, help: string, value: number): string[] {
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, `${name} ${value}`]
}

/** One number for each value of a label. */
export function labelled(
  name: string,
  type: string,
  help: string,
  label: string,
  valueByLabel: Readonly<Record<string, number>>,
): string[] {
  const lines = Object.entries(valueByLabel).map(([value, count]) => `${name}{${label}="${value}"} ${count}`)
  return [`# HELP ${name} ${help}`, `# TYPE ${name} ${type}`, ...lines]
}
