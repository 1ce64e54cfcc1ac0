/** How long reads and writes take at an edge, next to the same at the primary over the same way. */
import type { FarBench } from './edge.ts'
import { runJob } from './edge-jobs.ts'
import { line, spreadOf } from './edge-table.ts'
import { bound, type Cells, decimal } from './table.ts'

/** Targets in milliseconds. */
const servedMsMax = 1
const writeMsMaxAboveTrip = 15

/** Requests before the first that counts, at an edge. */
const warm = 200

const listPath = '/posts?limit=20&sort=-createdAt&include=author'

/** A round trip to the primary, and the lines of the table. */
export async function measureLatency(
  bench: FarBench,
  report: (line: string) => void,
): Promise<{ readonly tripMs: number; readonly lines: Cells[] }> {
  const { url, primaryOrigin } = bench.edge
  report('reads at an edge')
  const records = await recordPaths(url)
  const before = await servedBy(url)
  const record = await reads(bench, url, records)
  const list = await reads(bench, url, [listPath])
  const servedMs = boundOf(before, await servedBy(url), 0.99)
  report('reads at the primary')
  const trip = await reads(bench, primaryOrigin, ['/livez'])
  const farRecord = await reads(bench, primaryOrigin, records)
  const farList = await reads(bench, primaryOrigin, [listPath])
  const ratio = (far: typeof record, near: typeof record) => `${decimal(near.p50 / far.p50, 4)} x the primary's p50`
  const lines = [
    line('round trip to the primary: GET /livez', trip),
    line('read of a record at the edge', record, ratio(farRecord, record)),
    line('read of a record at the primary', farRecord),
    line('list of 20 with authors at the edge', list, ratio(farList, list)),
    line('list of 20 with authors at the primary', farList),
    line(
      'reads as the edge itself times them',
      { p50: Number.NaN, p99: servedMs },
      `99 of 100 within ${servedMs} ms`,
      bound(servedMs, { atMost: servedMsMax }),
    ),
    ...(await measureWrites(bench, trip.p50, report)),
  ]
  return { tripMs: trip.p50, lines }
}

async function measureWrites(bench: FarBench, tripMs: number, report: (line: string) => void): Promise<Cells[]> {
  report('writes, and reads of what was written')
  const { edge, other } = bench
  const creates = async (url: string, name: string, readAt: string | null) => {
    const { key, effort, run } = bench
    const job = { kind: 'writes', url, key, count: effort.writes, name: `${run}-${name}`, readAt } as const
    const { writes, reads } = await runJob(edge.within, job)
    return { writes: spreadOf(writes), reads: spreadOf(reads) }
  }
  const same = await creates(edge.url, 'same', edge.url)
  const elsewhere = await creates(edge.url, 'other', other.url)
  const far = await creates(edge.primaryOrigin, 'far', null)
  const above = `${decimal(same.writes.p50 - tripMs, 1)} ms above a round trip`
  return [
    line(
      'create through the edge',
      same.writes,
      above,
      bound(same.writes.p50, { atMost: Math.round(tripMs) + writeMsMaxAboveTrip }),
    ),
    line('create at the primary', far.writes),
    line('read of it at the same edge, with its token', same.reads),
    line(
      'read of it at another edge, with its token',
      elsewhere.reads,
      edge.within.length > 0 ? 'the way there is in it' : '',
    ),
  ]
}

/** Reads one after another from beside the first edge. */
async function reads({ edge, key, effort }: FarBench, url: string, paths: readonly string[]) {
  const isNear = url === edge.url
  const counts = isNear ? { warm, count: effort.reads } : { warm: 2, count: effort.writes }
  return spreadOf(await runJob(edge.within, { kind: 'reads', url, key, paths, ...counts }))
}

/** The records of one page, more than one so that not each answer is the one kept from before. */
async function recordPaths(url: string): Promise<string[]> {
  const { data } = (await (await fetch(`${url}/posts?limit=100&fields=id`)).json()) as { data: { id: string }[] }
  return data.map(({ id }) => `/posts/${id}`)
}

/** How many reads a node has served within each time, in seconds, as its metrics say. */
async function servedBy(url: string): Promise<ReadonlyMap<number, number>> {
  const text = await (await fetch(`${url}/metrics`)).text()
  const buckets = /_bucket\{method="GET",route="\/posts[^"]*",status="200",le="([^"]+)"\} (\d+)/g
  const counts = new Map<number, number>()
  for (const [, le = '', count] of text.matchAll(buckets)) {
    const seconds = le === '+Inf' ? Number.POSITIVE_INFINITY : Number(le)
    counts.set(seconds, (counts.get(seconds) ?? 0) + Number(count))
  }
  return counts
}

/** The least time known, in milliseconds, within which a share of the reads between two such counts was served. */
function boundOf(before: ReadonlyMap<number, number>, after: ReadonlyMap<number, number>, share: number): number {
  const grown = [...after].map(([seconds, count]) => ({ seconds, count: count - (before.get(seconds) ?? 0) }))
  const all = Math.max(...grown.map(({ count }) => count))
  return (grown.find(({ count }) => count >= all * share)?.seconds ?? Number.NaN) * 1000
}
