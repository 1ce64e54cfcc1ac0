/** How long it takes from the answer to a write at the primary until the copy of an edge has it, on the clock of both. */
import type { FarBench } from './edge.ts'
import { BenchError, type Moment, runJob } from './edge-jobs.ts'
import { line, spreadOf } from './edge-table.ts'
import { bound, type Cells } from './table.ts'

const rates = [10, 100, 500]
/** The target, in milliseconds, and the rate that it is for. */
const lagMsMaxAboveTrip = 20
const targetRate = 100

/** Seconds at each rate that do not count: until then connections that carried little before send slowly. */
const warmSeconds = 5

/** How long after the last write its copy is still awaited. */
const settleSeconds = 5

export async function measureLag(bench: FarBench, tripMs: number, report: (line: string) => void): Promise<Cells[]> {
  const lines: Cells[] = []
  for (const perSecond of rates) {
    report(`lag at ${perSecond} writes/s`)
    const lag = spreadOf(await lagsAt(bench, perSecond))
    const limit = { atMost: Math.round(tripMs) + lagMsMaxAboveTrip }
    const verdict = perSecond === targetRate ? bound(lag.p50, limit) : ['', '']
    lines.push(line(`lag at ${perSecond} writes/s, from commit to copy`, lag, '', verdict))
  }
  return lines
}

/** The milliseconds of each write that counts. */
async function lagsAt({ primary, edge, key, effort, run }: FarBench, perSecond: number): Promise<number[]> {
  const seconds = warmSeconds + effort.lagSeconds
  const [commits, seen] = await Promise.all([
    runJob(primary.within, {
      kind: 'paced',
      url: primary.url,
      key,
      perSecond,
      seconds,
      name: `${run}-lag${perSecond}`,
    }),
    runJob(edge.within, { kind: 'watch', url: edge.url, key, seconds: seconds + settleSeconds }),
  ])
  const from = (commits[0]?.[0] ?? 0) + warmSeconds * 1_000
  return commits.filter(([at]) => at >= from).map(([at, seq]) => seenAt(seen, seq) - at)
}

function seenAt(seen: readonly Moment[], seq: number): number {
  const found = seen.find(([, position]) => position >= seq)
  if (found) return found[0]
  throw new BenchError(`The edge did not have change ${seq} ${settleSeconds} seconds after the last write.`)
}
