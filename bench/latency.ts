/** Latency at a load that leaves the server idle most of the time, and the time from nothing to a first answer. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import type { BenchData } from './data.ts'
import type { LatencyJob, LatencyResult } from './latency-client.ts'
import { type Cores, pinned } from './machine.ts'
import { median } from './rates.ts'
import { type BenchServer, type Files, type ServerName, startServer } from './server.ts'

export const readsPerSecond = 1_000
export const writesPerSecond = 500

export interface ReadLatency {
  readonly server: ServerName
  readonly withWrites: boolean
  /** Medians over the rounds. */
  readonly p50Ms: number
  readonly p99Ms: number
  readonly maxMs: number
}

interface Options {
  readonly cores: Cores
  readonly rounds: number
  readonly seconds: number
  readonly run: string
}

/** Reads of single records, alone and beside creates of users. */
export async function measureReadLatency(
  servers: readonly BenchServer[],
  data: BenchData,
  files: Files,
  options: Options,
): Promise<ReadLatency[]> {
  const readPaths = readFileSync(data.idsFile, 'utf8')
    .trim()
    .split('\n')
    .map((id) => `/posts/${id}`)
  const runs = servers.flatMap((server) => [false, true].map((withWrites) => ({ server, withWrites })))
  const taken = new Map(runs.map((each) => [each, [] as LatencyResult[]]))
  for (let round = -1; round < options.rounds; round++) {
    for (const each of runs) {
      const { server, withWrites } = each
      // Each round asks for other posts, so that no answer is kept from the one before.
      const reads = readsPerSecond * options.seconds
      const from = (reads * 2 * (round + 1) + (withWrites ? reads : 0)) % readPaths.length
      const job: LatencyJob = {
        url: server.url,
        readPaths: readPaths.slice(from, from + reads),
        readsPerSecond,
        writesPerSecond: withWrites ? writesPerSecond : 0,
        seconds: options.seconds,
        writePath: '/users',
        apiKey: files.apiKey,
        name: `${options.run}-latency-${round + 1}`,
      }
      const result = await runClient(job, options.cores)
      if (round >= 0) taken.get(each)?.push(result)
    }
  }
  return runs.map((each) => {
    const results = taken.get(each) ?? []
    const over = (figure: 'p50Ms' | 'p99Ms' | 'maxMs') => median(results.map((result) => result.reads[figure]))
    return {
      server: each.server.name,
      withWrites: each.withWrites,
      p50Ms: over('p50Ms'),
      p99Ms: over('p99Ms'),
      maxMs: over('maxMs'),
    }
  })
}

async function runClient(job: LatencyJob, cores: Cores): Promise<LatencyResult> {
  const client = join(import.meta.dir, 'latency-client.ts')
  const child = Bun.spawn(pinned(cores.load, [process.execPath, client]), {
    stdio: [new Blob([JSON.stringify(job)]), 'pipe', 'inherit'],
  })
  const result = JSON.parse(await new Response(child.stdout).text()) as LatencyResult
  const failed = result.reads.failed + result.writes.failed
  if (failed > 0) throw new Error(`${failed} requests of the latency client failed on ${job.url}`)
  return result
}

/** Milliseconds from the start of the process to the first 200, its data in place: the median of `starts`. */
export async function measureColdStart(
  name: ServerName,
  data: BenchData,
  files: Files,
  options: { readonly core: number | null; readonly starts: number },
): Promise<number> {
  const times: number[] = []
  for (let i = 0; i < options.starts; i++) {
    const start = performance.now()
    const server = await startServer(name, files, options.core)
    const response = await fetch(`${server.url}/posts/${data.firstId}`, { headers: { Connection: 'close' } })
    await response.text()
    times.push(performance.now() - start)
    if (response.status !== 200) throw new Error(`${name} answered ${response.status} to its first request`)
    await server.stop()
  }
  return median(times)
}
