/** `bun run bench:edge`: edges that are 80 ms from their primary, as their callers meet them. bench/README.md explains it. */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type EdgePlace, flatNetwork, type Network, type PrimaryPlace } from '../src/entry/network.ts'
import { lackingForWan, openWan } from '../src/entry/wan.ts'
import { relay } from '../test/support/relay.ts'
import { report, runBench } from './command.ts'
import { measureLag } from './edge-lag.ts'
import { measureLatency } from './edge-latency.ts'
import { head } from './edge-table.ts'
import { measureThroughput } from './edge-throughput.ts'
import { tellOfOthers } from './machine.ts'
import { cutShort, withCluster } from './nodes.ts'
import { type Cells, printTable } from './table.ts'

/** A run that takes longer is ended. */
const runMinutesMax = 10

const usage = `bun run bench:edge [--quick]
Measures reads and writes at edges that are 80 ms from their primary, the lag of their copies, and the throughput of the
primary, and prints one table. Takes about 3 minutes, with --quick about 1, and never more than ${runMinutesMax}. With root
on Linux, /dev/net/tun, nsenter and a C compiler there is a network with that distance; elsewhere relays that delay what
they carry.`

/** How much is measured. */
export interface Effort {
  readonly reads: number
  readonly writes: number
  readonly lagSeconds: number
  readonly loadRounds: number
  readonly loadSeconds: number
}
const full: Effort = { reads: 3_000, writes: 100, lagSeconds: 10, loadRounds: 3, loadSeconds: 3 }
const quick: Effort = { reads: 500, writes: 20, lagSeconds: 4, loadRounds: 1, loadSeconds: 2 }

/** What every measurement needs: a cluster that runs, its key, and a name that no other run has. */
export interface Bench {
  readonly primary: PrimaryPlace
  readonly key: string
  readonly effort: Effort
  readonly run: string
}

/** With two edges, equally far from the primary. */
export interface FarBench extends Bench {
  readonly edge: EdgePlace
  readonly other: EdgePlace
}

const roundTripMs = 80
const regions = ['eu', 'us']
/** A name that no other run has. */
const run = `b${process.pid}`

async function main(isQuick: boolean) {
  const effort = isQuick ? quick : full
  const folder = mkdtempSync(join(tmpdir(), 'perigee-bench-edge-'))
  const cut = cutShort(runMinutesMax)
  const lines: Cells[] = []
  try {
    await tellOfOthers(report)
    const network = await farNetwork()
    await withCluster({ folder, network, cut, report }, async (cluster) => {
      const bench = { ...cluster, ...pairOf(network), effort, run }
      const latency = await measureLatency(bench, report)
      lines.push(...latency.lines, ...(await measureLag(bench, latency.tripMs, report)))
    })
    await withCluster({ folder, network: flatNetwork([]), cut, report }, async (cluster) => {
      const bench = { ...cluster, effort, run }
      lines.push(...(await measureThroughput(bench, join(folder, 'primary'), report)))
    })
    await tellOfOthers(report)
  } finally {
    rmSync(folder, { recursive: true })
    if (lines.length > 0) printTable(head, [1, 3], lines)
  }
}

/** Two edges, each 80 ms from the primary. */
async function farNetwork(): Promise<Network> {
  const lacking = lackingForWan()
  if (lacking === null) return openWan(regions.map((region) => ({ region, roundTripMs })))
  report(`There is no ${lacking} here: relays delay what they carry, and their own work is in the figures.`)
  const network = flatNetwork(regions)
  const relays = [await relay(network.primary.url), await relay(`http://${network.primary.databaseAddress}`)]
  for (const each of relays) each.delayMs = roundTripMs / 2
  const [primaryOrigin = '', databaseUrl = ''] = relays.map(({ origin }) => origin)
  return {
    ...network,
    edges: network.edges.map((edge) => ({ ...edge, primaryOrigin, databaseUrl })),
    async close() {
      for (const each of relays) each.stop()
    },
  }
}

function pairOf({ edges: [edge, other] }: Network) {
  if (!edge || !other) throw new Error('two edges are measured')
  return { edge, other }
}

await runBench(usage, main)
