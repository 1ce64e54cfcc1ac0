/** What a node's `/metrics` say of it; a number that they do not say is null. */
export interface Numbers {
  readonly position: number | null
  readonly lagMs: number | null
  readonly reads: number
  readonly writes: number
  /** Of an edge: the share of its reads that it answered itself. */
  readonly servedHere: number | null
}

/** Reads the text format of `/metrics`, of a primary or of an edge. */
export function numbersIn(metrics: string): Numbers {
  const one = (name: string) => {
    const found = new RegExp(`^${name} (\\S+)$`, 'm').exec(metrics)
    return found ? Number(found[1]) : null
  }
  const sum = (series: string) =>
    [...metrics.matchAll(new RegExp(`^${series} (\\S+)$`, 'gm'))].reduce((total, match) => total + Number(match[1]), 0)
  const lag = one('perigee_replica_lag_seconds')
  const lagMs = lag === null ? null : lag * 1000
  const position = one('perigee_log_position')
  if (!metrics.includes('perigee_edge_reads_total')) {
    const requests = (method: string) =>
      sum(`perigee_http_request_duration_seconds_count\\{method="(?:${method})",.*\\}`)
    return { position, lagMs, reads: requests('GET|HEAD'), writes: requests('POST|PUT|PATCH|DELETE'), servedHere: null }
  }
  const reads = sum('perigee_edge_reads_total\\{.*\\}')
  const forwarded = sum('perigee_edge_reads_total\\{from="primary"\\}')
  const servedHere = reads === 0 ? null : 1 - forwarded / reads
  return { position, lagMs, reads, writes: sum('perigee_edge_writes_total\\{.*\\}'), servedHere }
}

const head = ['', 'position', 'lag ms', 'reads', 'served here', 'writes']

/** A line for each node below a head; a node without numbers did not answer. */
export function tableOf(nodes: readonly { readonly name: string; readonly numbers: Numbers | null }[]): string[] {
  const rows = nodes.map(({ name, numbers }) => [name, ...(numbers ? cellsOf(numbers) : ['does not answer'])])
  const nameWidth = Math.max(...nodes.map(({ name }) => name.length))
  return [head, ...rows].map(([name = '', ...cells]) =>
    [name.padEnd(nameWidth), ...cells.map((cell) => cell.padStart(11))].join('  '),
  )
}

function cellsOf({ position, lagMs, reads, writes, servedHere }: Numbers): string[] {
  return [
    position === null ? '-' : String(position),
    lagMs === null ? '-' : lagMs.toFixed(0),
    String(reads),
    servedHere === null ? '-' : `${(servedHere * 100).toFixed(1)} %`,
    String(writes),
  ]
}
