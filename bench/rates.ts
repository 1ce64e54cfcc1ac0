/** Rates and CPU per request under full load: wrk beside each server in turn, round after round. */
import { join } from 'node:path'
import { busySeconds, type Cores, pinned, quietShareMax } from './machine.ts'
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
  /** The share of a core that other processes took, of the server's or the load's, whichever was disturbed more. */
  readonly othersShare: number
}

export type Samples = ReadonlyMap<ServerName, readonly Sample[]>

/**
 * The samples of each server, in the order of the rounds. Each round runs every server once. Where other processes
 * disturb rounds, up to as many again are run, and the quietest of all count.
 */
export async function measureRates(
  servers: readonly BenchServer[],
  script: Script,
  options: RateOptions,
): Promise<Samples> {
  for (const server of servers)
    await sample(server, script('warm', server.name), { ...options, seconds: options.warmSeconds })
  const rounds: (readonly Sample[])[] = []
  const quiet = () => rounds.filter((round) => disturbance(round) <= quietShareMax).length
  while (quiet() < options.rounds && rounds.length < 2 * options.rounds) {
    const round: Sample[] = []
    for (const server of servers) round.push(await sample(server, script(`${rounds.length}`, server.name), options))
    rounds.push(round)
  }
  const counted = rounds.toSorted((a, b) => disturbance(a) - disturbance(b)).slice(0, options.rounds)
  return new Map(servers.map((server, i) => [server.name, counted.flatMap((round) => round[i] ?? [])]))
}

const disturbance = (round: readonly Sample[]) => Math.max(...round.map((each) => each.othersShare))

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
  const before = { cpu: server.cpuSeconds(), server: busySeconds(cores.server), load: busySeconds(cores.load) }
  const start = performance.now()
  const child = Bun.spawn(pinned(cores.load, [...wrk, server.url, '--', ...args]), {
    stdio: ['ignore', 'pipe', 'inherit'],
  })
  const text = await new Response(child.stdout).text()
  await child.exited
  const cpu = server.cpuSeconds() - before.cpu
  const others = [
    busySeconds(cores.server) - before.server - cpu,
    busySeconds(cores.load) - before.load - Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6,
  ].filter((each) => !Number.isNaN(each))
  const wall = (performance.now() - start) / 1000
  const requests = Number(/(\d+) requests in/.exec(text)?.[1] ?? 0)
  const failed = /Non-2xx or 3xx responses: (\d+)|Socket errors: .*/.exec(text)
  if (requests === 0 || failed) throw new Error(`the load on ${server.name} failed:\n${text}`)
  return {
    perSecond: Number(/Requests\/sec: +([\d.]+)/.exec(text)?.[1]),
    cpuMicros: (cpu / requests) * 1e6,
    othersShare: Math.max(0, ...others) / wall,
  }
}

export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b)
  const middle = sorted.length >> 1
  const upper = sorted[middle] ?? Number.NaN
  return sorted.length % 2 === 1 ? upper : ((sorted[middle - 1] ?? Number.NaN) + upper) / 2
}
