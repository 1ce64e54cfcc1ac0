import { mkdirSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { Cluster, type ClusterNode } from './cluster.ts'
import { numbersIn, tableOf } from './cluster-table.ts'
import { flatNetwork, type Network } from './network.ts'
import { CommandError } from './node.ts'
import { Screen } from './screen.ts'
import { type Distance, lackingForWan, openWan } from './wan.ts'

/** What `bun run cluster` does once its arguments are understood. */

/** The edges; the distances are those of a wide network. */
const edges: readonly Distance[] = [
  { region: 'eu', roundTripMs: 80 },
  { region: 'us', roundTripMs: 120 },
  { region: 'ap', roundTripMs: 200 },
]

const tableMs = 1_000

/** Runs a cluster until a signal comes or none of its nodes is left. Without a folder it lives in a temporary one. */
export async function runCluster(named: string | undefined, isWide: boolean) {
  const screen = new Screen()
  let cluster: Cluster | undefined
  const signalled = firstSignal(() => cluster?.kill())
  const folder = named === undefined ? mkdtempSync(join(tmpdir(), 'perigee-cluster-')) : madeFolder(named)
  let network: Network | undefined
  try {
    network = await networkOf(isWide, screen)
    const tell = (line: string) => screen.tell(line)
    cluster = new Cluster({ folder, network, tell, progress: screen.isTerminal ? 'inherit' : 'ignore' })
    await Promise.race([signalled, live(cluster, screen)])
  } finally {
    await cluster?.stop()
    await network?.close()
    if (named === undefined) rmSync(folder, { recursive: true })
  }
}

async function networkOf(isWide: boolean, screen: Screen): Promise<Network> {
  const lacking = isWide ? lackingForWan() : null
  if (lacking !== null) screen.tell(`There is no ${lacking} here, which --wan needs: nothing is delayed.`)
  return isWide && lacking === null ? openWan(edges) : flatNetwork(edges.map(({ region }) => region))
}

function madeFolder(named: string): string {
  try {
    mkdirSync(named, { recursive: true, mode: 0o700 })
    return resolve(named)
  } catch (error) {
    throw new CommandError(
      `--dir ${named} cannot be used: ${(error as Error).message}. Name a folder that can be written.`,
    )
  }
}

/** Resolves with the first signal. One that comes later than the terminal's own means that the end takes too long. */
function firstSignal(hurry: () => void): Promise<void> {
  const { promise, resolve } = Promise.withResolvers<void>()
  let since: number | undefined
  const hear = () => {
    since ??= performance.now()
    resolve()
    if (performance.now() - since > 1_000) hurry()
  }
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.on(signal, hear)
  return promise
}

/** Starts the nodes, says where they are, and shows what they do while any of them runs. */
async function live(cluster: Cluster, screen: Screen) {
  await cluster.start()
  for (const { name, url } of cluster.nodes) screen.print(`${name} ${url}`)
  screen.tell(`The key of the tenant demo is in ${cluster.keyFile}`)
  const ended = Promise.all(cluster.nodes.map(({ exited }) => exited)).then(() => 'ended' as const)
  const next = () => (screen.isTerminal ? Promise.race([ended, Bun.sleep(tableMs)]) : ended)
  while ((await next()) !== 'ended') screen.draw(tableOf(await Promise.all(cluster.nodes.map(rowOf))))
  throw new CommandError('Every node has ended.')
}

async function rowOf({ name, url }: ClusterNode) {
  const answer = await fetch(`${url}/metrics`, { signal: AbortSignal.timeout(tableMs) }).catch(() => null)
  return { name, numbers: answer?.ok ? numbersIn(await answer.text()) : null }
}
