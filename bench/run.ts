/** `bun run bench`: Perigee beside hand-written servers over the same data, in one run. bench/README.md explains it. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { databaseFile } from '../src/entry/file-store.ts'
import { type RateCase, rateCases } from './cases.ts'
import { type BenchData, prepareData } from './data.ts'
import { measureColdStart, measureReadLatency, readsPerSecond, writesPerSecond } from './latency.ts'
import { type Cores, chooseCores, quietShareMax } from './machine.ts'
import { measureRates } from './rates.ts'
import { type BenchServer, type Files, killServers, makeKey, type ServerName, startServer } from './server.ts'
import { bound, type Cells, head, printTable, rateLines } from './table.ts'

const caseNames = [
  'start',
  'record',
  'cached',
  'unchanged',
  'list',
  'list-cached',
  'old-record',
  'old-list',
  'create-user',
  'create-post',
  'latency',
]

const usage = `bun run bench [--quick] [--only CASE,...]
Measures Perigee beside hand-written servers over the same data and prints one table: rates, CPU time per request, and
how they compare with the targets. Needs wrk. A full run takes about 5 minutes, a --quick one about 1.
Cases: ${caseNames.join(', ')}.
BENCH_DIR names a folder that keeps the data (1 GB) for the next run; without it they go to a temporary one.`

interface Effort {
  readonly rounds: number
  readonly seconds: number
  readonly warmSeconds: number
  readonly starts: number
}
const full: Effort = { rounds: 9, seconds: 1, warmSeconds: 3, starts: 15 }
const quick: Effort = { rounds: 3, seconds: 1, warmSeconds: 1, starts: 5 }

/** What every measurement needs. */
interface Bench {
  readonly data: BenchData
  readonly files: Files
  readonly cores: Cores
  readonly effort: Effort
  readonly run: string
}

const report = (line: string) => console.error(line)

async function main(args: string[]) {
  const values = readOptions(args)
  if (values.help) return console.log(usage)
  if (!Bun.which('wrk')) {
    report('wrk is missing. Install it with "apt-get install wrk", "brew install wrk" or from github.com/wg/wrk.')
    process.exit(2)
  }
  const temporary = process.env.BENCH_DIR ? null : mkdtempSync(join(tmpdir(), 'perigee-bench-'))
  const folder = process.env.BENCH_DIR ?? temporary ?? ''
  const runFolder = join(folder, `run-${process.pid}`)
  const clean = () => {
    killServers()
    rmSync(temporary ?? runFolder, { recursive: true, force: true })
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const)
    process.once(signal, () => {
      clean()
      process.exit(130)
    })
  try {
    const data = await prepareData(folder, report)
    const files = await copyFiles(data, runFolder)
    const effort = values.quick ? quick : full
    const bench = { data, files, cores: chooseCores(report), effort, run: `r${process.pid}` }
    const lines: Cells[] = []
    try {
      await runCases(bench, values.only, lines)
    } finally {
      printTable(head, [2, 5], lines)
    }
  } finally {
    clean()
  }
}

const options = {
  quick: { type: 'boolean' },
  only: { type: 'string' },
  help: { type: 'boolean', short: 'h' },
} as const

function readOptions(args: string[]): { quick: boolean; help: boolean; only: readonly string[] } {
  try {
    const { quick = false, help = false, only } = parseArgs({ args, options }).values
    const names = only === undefined ? caseNames : only.split(',')
    const unknown = names.find((name) => !caseNames.includes(name))
    if (unknown !== undefined) throw new Error(`There is no case "${unknown}".`)
    return { quick, help, only: names }
  } catch (error) {
    report(`${(error as Error).message}\n\n${usage}`)
    process.exit(2)
  }
}

/** Copies for this run to write to, so that the next one finds the data as they were. */
async function copyFiles(data: BenchData, folder: string): Promise<Files> {
  const dataDir = join(folder, 'perigee')
  const plainFile = join(folder, 'plain.db')
  mkdirSync(dataDir, { recursive: true })
  copyFileSync(databaseFile(data.dataDir), databaseFile(dataDir))
  copyFileSync(data.plainFile, plainFile)
  return { dataDir, plainFile, apiKey: await makeKey(dataDir) }
}

/** Runs the cases of these names and adds their lines to the table, which is printed also where a case fails. */
async function runCases(bench: Bench, names: readonly string[], lines: Cells[]) {
  if (names.includes('start')) lines.push(...(await coldStarts(bench)))
  for (const each of rateCases(bench.data, bench.files, bench.run))
    if (names.includes(each.name)) lines.push(...(await runRateCase(bench, each)))
  if (names.includes('latency')) lines.push(...(await readLatencies(bench)))
}

async function runRateCase(bench: Bench, each: RateCase): Promise<Cells[]> {
  report(`${each.title}: ${each.servers.join(', ')}`)
  return withServers(bench, each.servers, async (servers) => {
    if (each.same) await requireSame(servers, each.same)
    const samples = await measureRates(servers, each.script, { ...bench.effort, cores: bench.cores, connections: 64 })
    const disturbed = Math.max(...[...samples.values()].flat().map((sample) => sample.othersShare))
    if (disturbed > quietShareMax)
      report(`  the machine was not quiet: other processes took up to ${(disturbed * 100).toFixed(0)} % of a core`)
    return rateLines(each, samples)
  })
}

async function readLatencies(bench: Bench): Promise<Cells[]> {
  report(`read latency at ${readsPerSecond} reads/s, alone and beside ${writesPerSecond} creates/s`)
  return withServers(bench, ['perigee', 'bun-sqlite'], async (servers) => {
    const options = {
      cores: bench.cores,
      run: bench.run,
      rounds: bench.effort.rounds,
      seconds: 2 * bench.effort.seconds,
    }
    const latencies = await measureReadLatency(servers, bench.data, bench.files, options)
    return latencies.map(({ server, withWrites, p50Ms, p99Ms }) => {
      const alone = latencies.find((each) => each.server === server && !each.withWrites)?.p99Ms ?? Number.NaN
      const title = `read at ${readsPerSecond}/s${withWrites ? ` beside ${writesPerSecond} creates/s` : ''}`
      const compared = withWrites ? `${(p99Ms / alone).toFixed(2)} x its p99 alone` : ''
      return [title, server, '', '', p50Ms.toFixed(2), p99Ms.toFixed(2), compared, '', '']
    })
  })
}

/** Perigee's start as it is anywhere, and on the one core that the other cases give it. */
async function coldStarts(bench: Bench): Promise<Cells[]> {
  report('cold start to first answer')
  const { data, files, effort, cores } = bench
  const lines: Cells[] = []
  for (const [title, core] of [
    ['cold start to first answer', null],
    ['cold start on one core', cores.server],
  ] as const) {
    for (const name of ['perigee', 'bun-sqlite'] as const) {
      const ms = await measureColdStart(name, data, files, { core, starts: effort.starts })
      const verdict = name === 'perigee' && core === null ? bound(ms, { atMost: 150 }) : ['', '']
      lines.push([title, name, '', '', ms.toFixed(0), '', '', ...verdict])
    }
  }
  return lines
}

async function withServers(
  bench: Bench,
  names: readonly ServerName[],
  work: (servers: readonly BenchServer[]) => Promise<Cells[]>,
): Promise<Cells[]> {
  const servers: BenchServer[] = []
  try {
    for (const name of names) {
      const own = name === 'perigee-newest' ? servers.find((each) => each.name === 'perigee') : undefined
      servers.push(
        own ? { ...own, name, stop: async () => {} } : await startServer(name, bench.files, bench.cores.server),
      )
    }
    return await work(servers)
  } finally {
    for (const server of servers) await server.stop()
  }
}

/** The servers must do the same work: their answers are equal, but for what a list says about its pages. */
async function requireSame(servers: readonly BenchServer[], pathByServer: NonNullable<RateCase['same']>) {
  const answers = await Promise.all(
    servers.map(async ({ name, url }) => {
      const body = (await (await fetch(url + pathByServer[name])).json()) as { data?: unknown }
      return body.data ?? body
    }),
  )
  const different = servers.find((_, i) => !Bun.deepEquals(answers[i], answers[0]))
  if (different) throw new Error(`${different.name} answers otherwise than ${servers[0]?.name}`)
}

await main(process.argv.slice(2))
