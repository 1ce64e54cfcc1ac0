/** What the benchmarks of clusters share: a cluster that runs while it is measured, and an end to every run. */
import { readFileSync } from 'node:fs'
import { Cluster, type ClusterNode } from '../src/entry/cluster.ts'
import type { Network, PrimaryPlace } from '../src/entry/network.ts'
import { BenchError } from './edge-jobs.ts'

interface ClusterOptions {
  readonly folder: string
  readonly network: Network
  /** Rejects where the run is to end. */
  readonly cut: Promise<never>
  readonly report: (line: string) => void
}

/** A cluster that runs, and its key. */
export interface RunningCluster {
  readonly primary: PrimaryPlace
  readonly nodes: readonly ClusterNode[]
  readonly key: string
}

export async function withCluster(
  { folder, network, cut, report }: ClusterOptions,
  work: (cluster: RunningCluster) => Promise<void>,
) {
  const cluster = new Cluster({ folder, network, tell: report, progress: 'ignore' })
  const start = async () => {
    report(`starting a primary and ${network.edges.length} edge(s)`)
    await cluster.start()
    const key = readFileSync(cluster.keyFile, 'utf8').trim()
    await work({ primary: network.primary, nodes: cluster.nodes, key })
  }
  try {
    await Promise.race([start(), cut])
  } finally {
    await cluster.stop()
    await network.close()
  }
}

/** Rejects where the run is to end: by a signal, or because it takes too long. */
export function cutShort(minutesMax: number): Promise<never> {
  const { promise, reject } = Promise.withResolvers<never>()
  for (const name of ['SIGINT', 'SIGTERM'] as const)
    process.on(name, () => reject(new BenchError(`Ended by ${name}: what was not measured is not in the table.`)))
  setTimeout(() => reject(new BenchError(`The run took more than ${minutesMax} minutes.`)), minutesMax * 60_000)
  promise.catch(() => undefined) // Whoever waits for it is told.
  return promise
}
