/** `bun run bench:feed`: those who follow the changes, many at once. bench/README.md explains it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { databaseFile } from '../src/entry/file-store.ts'
import { flatNetwork } from '../src/entry/network.ts'
import { report, runBench } from './command.ts'
import { BenchError, type Moment, runJob, runScript } from './edge-jobs.ts'
import { spreadOf } from './edge-table.ts'
import { cpuSeconds, memoryBytes, tellOfOthers } from './machine.ts'
import { cutShort, withCluster } from './nodes.ts'
import { killServers, makeKey, runCommand, startServer } from './server.ts'
import { type Cells, decimal, printTable } from './table.ts'

/** A run that takes longer is ended. */
const runMinutesMax = 5

const usage = `bun run bench:feed [--quick]
Measures clients that follow the changes, at a standalone node and at an edge: the memory of 5,000 that have nothing to
read, and one and 1,000 beside 200 writes/s: the delay from the answer to a write until they are told of it, and CPU.
Takes about 2 minutes, with --quick 1, and never more than ${runMinutesMax}.`

/** Those who follow, from when they have begun on for some seconds. */
export interface Subscription {
  /** The feed's. */
  readonly url: string
  readonly key: string
  readonly clients: number
  readonly seconds: number
  /** One of so many looks at what it is told. */
  readonly watchedEach: number
}

interface Effort {
  readonly idleSeconds: number
  readonly writeSeconds: number
}
const full: Effort = { idleSeconds: 5, writeSeconds: 15 }
const quick: Effort = { idleSeconds: 2, writeSeconds: 5 }

/** A node whose followers are measured, and where is written what they are told. */
interface Measured {
  readonly title: string
  readonly url: string
  readonly pid: number
  readonly key: string
  readonly writeUrl: string
}

const idleClients = 5_000
/** One alone tells how late the node itself learns of a write. */
const liveClients = [1, 1_000]
const writesPerSecond = 200
/** Those whose delays are measured. */
const watchedMax = 50
/** Seconds at the beginning that do not count, and those in which the last writes are awaited. */
const warmSeconds = 2
const settleSeconds = 3
const head: Cells = ['case', 'p50 ms', 'p99 ms', 'CPU %', 'KB/follower', 'node MB']
/** A name that no other run has. */
const run = `f${process.pid}`

async function main(isQuick: boolean) {
  const effort = isQuick ? quick : full
  const folder = mkdtempSync(join(tmpdir(), 'perigee-bench-feed-'))
  const cut = cutShort(runMinutesMax)
  const lines: Cells[] = []
  try {
    await tellOfOthers(report)
    await Promise.race([measureStandalone(join(folder, 'standalone'), effort, lines), cut])
    const network = flatNetwork(['edge'])
    await withCluster({ folder, network, cut, report }, async ({ primary, nodes: [, edge], key }) => {
      if (!edge) throw new BenchError('There is no edge.')
      const { url, pid } = edge
      lines.push(...(await measure({ title: 'edge', url, pid, key, writeUrl: primary.url }, effort)))
    })
    await tellOfOthers(report)
  } finally {
    killServers()
    rmSync(folder, { recursive: true })
    if (lines.length > 0) printTable(head, [1, 5], lines)
  }
}

async function measureStandalone(dataDir: string, effort: Effort, lines: Cells[]) {
  await runCommand(['migrate'], dataDir)
  const key = await makeKey(dataDir)
  const server = await startServer('perigee', { dataDir, plainFile: databaseFile(dataDir), apiKey: key }, null)
  const { url, pid } = server
  lines.push(...(await measure({ title: 'standalone', url, pid, key, writeUrl: url }, effort)))
  await server.stop()
}

async function measure(node: Measured, effort: Effort): Promise<Cells[]> {
  const lines = [await measureIdle(node, effort)]
  for (const clients of liveClients) lines.push(await measureLive(node, clients, effort))
  return lines
}

/** The memory that followers take who are told nothing. */
async function measureIdle(node: Measured, { idleSeconds }: Effort): Promise<Cells> {
  report(`${idleClients} idle followers of the ${node.title} node`)
  const before = memoryBytes(node.pid)
  const seconds = idleSeconds + 1
  const followers = follow(node, { clients: idleClients, seconds, watchedEach: idleClients })
  await joined(node, idleClients)
  const start = cpuSeconds(node.pid)
  await Bun.sleep(idleSeconds * 1_000)
  const cpu = (cpuSeconds(node.pid) - start) / idleSeconds
  const memory = memoryBytes(node.pid)
  await followers
  await joined(node, 0)
  return cellsOf(`${node.title}: ${idleClients} idle`, null, cpu, (memory - before) / idleClients, memory)
}

async function measureLive(node: Measured, clients: number, { writeSeconds }: Effort): Promise<Cells> {
  report(`${clients} follower(s) of the ${node.title} node beside ${writesPerSecond} writes/s`)
  const seconds = warmSeconds + writeSeconds
  const watchedEach = Math.ceil(clients / watchedMax)
  const following = follow(node, { clients, seconds: seconds + settleSeconds, watchedEach })
  await joined(node, clients)
  const start = cpuSeconds(node.pid)
  const commits = await runJob([], {
    ...{ kind: 'paced', url: node.writeUrl, key: node.key, perSecond: writesPerSecond, seconds },
    name: `${run}-${node.title}-${clients}`,
  })
  const cpu = (cpuSeconds(node.pid) - start) / seconds
  const memory = memoryBytes(node.pid)
  const delays = delaysOf(commits, await following, Math.ceil(clients / watchedEach))
  await joined(node, 0)
  const title = `${node.title}: ${clients}, ${writesPerSecond} writes/s`
  return cellsOf(title, delays, cpu, Number.NaN, memory)
}

/** The milliseconds from the answer to each write that counts until each watched follower was told of it. */
function delaysOf(commits: readonly Moment[], seen: readonly Moment[], watched: number): number[] {
  const from = (commits[0]?.[0] ?? 0) + warmSeconds * 1_000
  const atBySeq = new Map(commits.map(([at, seq]) => [seq, at]))
  const told = seen.filter(([, seq]) => atBySeq.has(seq))
  const wanted = commits.length * watched
  if (told.length !== wanted)
    throw new BenchError(`The watched followers were told ${told.length} times, not ${wanted}.`)
  return told
    .map(([at, seq]) => [at, atBySeq.get(seq) ?? 0] as const)
    .flatMap(([at, acknowledged]) => (acknowledged < from ? [] : [at - acknowledged]))
}

function follow({ url, key }: Measured, options: Omit<Subscription, 'url' | 'key'>): Promise<Moment[]> {
  const job: Subscription = { url: `${url}/changes?resource=users`, key, ...options }
  const following = runScript<Moment[]>([], 'feed-client.ts', job)
  following.catch(() => undefined) // Told where it is awaited.
  return following
}

/** Waits until a node has as many followers. */
async function joined({ url, title }: Measured, wanted: number) {
  const deadline = performance.now() + 30_000
  for (;;) {
    const text = await (await fetch(`${url}/metrics`)).text()
    const count = Number(/^perigee_followers (\d+)$/m.exec(text)?.[1])
    if (count === wanted) return
    if (performance.now() > deadline)
      throw new BenchError(
        `The ${title} node has ${count} followers, not ${wanted}. Each takes a file of the node and of its client: "ulimit -n" says how many a process may have.`,
      )
    await Bun.sleep(50)
  }
}

function cellsOf(title: string, delays: readonly number[] | null, cpu: number, each: number, memory: number): Cells {
  const { p50, p99 } = spreadOf(delays ?? [])
  const numbers = [decimal(p50, 1), decimal(p99, 1), decimal(cpu * 100, 0), decimal(each / 1_000, 0)]
  return [title, ...numbers, decimal(memory / 1e6, 0)]
}

await runBench(usage, main)
