/** Rates and CPU per request under full load: wrk beside each server in turn, round after round. */
import { join } from 'node:path'
import { busySeconds, type Cores, pinned } from './machine.ts'
import type { BenchServer, ServerName } from './server.ts'

/** A wrk script with its arguments, for one round over one server. */
export type Script = (round: string, server: ServerName) => readonly [script: string, ...args: string[]]

export interface RateOptions {
  readonly cores: Cores
  readonly rounds: number
  readonly seconds: number
  /** Before the rounds, until the code is compiled and the pages are in memory. */
  readonly warmSeconds: number
  readonly connections: number
}

/** What one server did in one round. */
export interface Sample {
  readonly perSecond: number
  readonly cpuMicros: number
  /** The share of the server's core that other processes took. */
  readonly othersShare: number
}

export type Samples = ReadonlyMap<ServerName, readonly Sample[]>

/** The samples of each server, in the order of the rounds. Each round runs every server once. */
export async function measureRates(
  servers: readonly BenchServer[],
  script: Script,
  options: RateOptions,
): Promise<Samples> {
  const samples = new Map<ServerName, Sample[]>(servers.map((server) => [server.name, []]))
  for (const server of servers)
    await sample(server, script('warm', server.name), { ...options, seconds: options.warmSeconds })
  for (let round = 0; round < options.rounds; round++) {
    for (const server of servers)
      samples.get(server.name)?.push(await sample(server, script(`${round}`, server.name), options))
  }
  return samples
}

export type Figure = 'perSecond' | 'cpuMicros'

/** The median over the rounds. */
export function figureOf(samples: Samples, server: ServerName, figure: Figure): number {
  return median((samples.get(server) ?? []).map((each) => each[figure]))
}

/**
 * The median over the rounds of one server's figure by another's in the same round: what else happened on the machine
 * happened to both.
 */
export function ratioOf(samples: Samples, server: ServerName, other: ServerName, figure: Figure): number {
  const others = samples.get(other) ?? []
  return median((samples.get(server) ?? []).map((each, i) => each[figure] / (others[i]?.[figure] ?? Number.NaN)))
}

async function sample(server: BenchServer, script: ReturnType<Script>, options: RateOptions): Promise<Sample> {
  const { cores, seconds, connections } = options
  const [file, ...args] = script
  const wrk = ['wrk', '-t1', `-c${connections}`, `-d${seconds}s`, '-s', join(import.meta.dir, 'wrk', file)]
  const before = { cpu: server.cpuSeconds(), busy: busySeconds(cores.server), at: performance.now() }
  const child = Bun.spawn(pinned(cores.load, [...wrk, server.url, '--', ...args]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const text = await new Response(child.stdout).text()
  const cpu = server.cpuSeconds() - before.cpu
  const busy = busySeconds(cores.server) - before.busy
  const wall = (performance.now() - before.at) / 1000
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0)
  const failed = /Non-2xx or 3xx responses: (\d+)|Socket errors: .*/.exec(text)
  if (requests === 0 || failed) throw new Error(`the load on ${server.name} failed:\n${text}`)
  return {
    perSecond: Number(/Requests\/sec: +([\d.]+)/.exec(text)?.[1]),
    cpuMicros: (cpu / requests) * 1e6,
    othersShare: Math.max(0, busy - cpu) / wall,
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
