import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { model } from '../model/index.ts'
import { lackingForImport } from './import.ts'
import type { Network, Place } from './network.ts'
import { CommandError, projectRoot } from './node.ts'
import { writeWhole } from './sqld-keys.ts'
import { endingWithParent } from './supervise.ts'

export const demoTenant = 'demo'

export interface ClusterOptions {
  /** Keeps the data of each node, and `dev-key`; what an earlier cluster left there goes on. */
  readonly folder: string
  readonly network: Network
  /** Origins of Worker edges that the primary tells of each write, between commas. */
  readonly edgeOrigins?: string
  /** Told what the nodes complain of, and of each that ends without having been asked to. */
  readonly tell: (line: string) => void
  /** Where the progress of the first import goes. */
  readonly progress: 'inherit' | 'ignore'
}

export interface ClusterNode {
  readonly name: string
  readonly url: string
  readonly pid: number
  readonly exited: Promise<unknown>
  kill(signal: NodeJS.Signals): void
}

/** How long a node may take until it is ready: at first it copies the database over the network it is given. */
const readyMsMax = 60_000

/** A primary with its sqld and edges around it on this machine, each a process of the project's own commands. */
export class Cluster {
  /** Those that were started, the primary first. */
  readonly nodes: ClusterNode[] = []
  private readonly options: ClusterOptions
  private readonly dataDir: string
  private isStopping = false

  constructor(options: ClusterOptions) {
    this.options = options
    this.dataDir = join(options.folder, 'primary')
  }

  /** The file of an API key that may read and write the tenant `demo`. */
  get keyFile(): string {
    return join(this.options.folder, 'dev-key')
  }

  /** Starts every node and waits until it is ready; the first time, imports the packages of this project. */
  async start() {
    const { primary, edges } = this.options.network
    const isFirst = !existsSync(this.dataDir) || !existsSync(this.keyFile)
    await this.startNode('primary', primary, 'primary', this.primarySettings())
    if (isFirst) await this.fill()
    const token = await Bun.file(join(this.dataDir, 'replica-token')).text()
    await Promise.all(
      edges.map((edge) =>
        this.startNode(`edge ${edge.region}`, edge, 'serve', {
          DATA_DIR: join(this.options.folder, edge.region),
          REGION: edge.region,
          PRIMARY_ORIGIN: edge.primaryOrigin,
          LIBSQL_URL: edge.databaseUrl,
          LIBSQL_TOKEN: token.trim(),
        }),
      ),
    )
  }

  /** Ends the edges, which may have writes under way, and then the primary. */
  async stop() {
    this.isStopping = true
    const [primary, ...edges] = this.nodes
    await Promise.all(edges.map(end))
    if (primary) await end(primary)
  }

  /** Ends every node at once, in the middle of what it does. */
  kill() {
    for (const node of this.nodes) node.kill('SIGKILL')
  }

  private primarySettings() {
    const { network, edgeOrigins = '' } = this.options
    const LIBSQL_LISTEN = network.primary.databaseAddress
    return { DATA_DIR: this.dataDir, LIBSQL_LISTEN, REGION: 'primary', EDGE_ORIGINS: edgeOrigins }
  }

  private async startNode(name: string, place: Place, command: string, settings: Readonly<Record<string, string>>) {
    const { host, port, url } = place
    const child = this.spawn(place, [command], 'ignore', {
      ...settings,
      HOST: host,
      PORT: String(port),
      PUBLIC_TENANT: demoTenant,
    })
    const node = {
      name,
      url,
      pid: child.pid,
      exited: child.exited,
      kill: (signal: NodeJS.Signals) => child.kill(signal),
    }
    this.nodes.push(node)
    void this.tellLines(name, child.stderr)
    void child.exited.then(() => {
      if (!this.isStopping) this.options.tell(`${name} ended ${howOf(child)}.`)
    })
    await becomeReady(node, child)
  }

  /** Gives a new primary data and a key. */
  private async fill() {
    if (lackingForImport(model).length === 0)
      await this.runAtPrimary(
        ['import', join(projectRoot, 'node_modules'), '--tenant', demoTenant],
        this.options.progress,
      )
    const key = await this.runAtPrimary(['keys', 'create', '--tenant', demoTenant, '--scopes', 'read,write'], 'pipe')
    writeWhole(this.keyFile, key, 0o600)
  }

  /** Runs a command on the primary's database to its end; what it printed, where that is a pipe. */
  private async runAtPrimary(args: readonly string[], stdout: 'inherit' | 'ignore' | 'pipe'): Promise<string> {
    const child = this.spawn(this.options.network.primary, args, stdout, this.primarySettings())
    const [out, complaints] = await Promise.all([
      child.stdout ? new Response(child.stdout).text() : '',
      new Response(child.stderr).text(),
    ])
    if ((await child.exited) === 0) return out
    throw new CommandError(`"bun run ${args[0]}" ended ${howOf(child)}: ${complaints.trim()}`)
  }

  /** In a process group of its own, so that Ctrl-C reaches this process alone, which then ends all in order. */
  private spawn(
    { within }: Place,
    args: readonly string[],
    stdout: 'inherit' | 'ignore' | 'pipe',
    settings: Readonly<Record<string, string>>,
  ) {
    const command = [process.execPath, join(projectRoot, 'src/entry/commands.ts'), ...args]
    return Bun.spawn([...within, ...endingWithParent('TERM'), ...command], {
      cwd: projectRoot,
      env: { PATH: process.env.PATH ?? '', ...settings },
      stdio: ['ignore', stdout, 'pipe'],
      detached: true,
    })
  }

  private async tellLines(name: string, stream: ReadableStream<Uint8Array>) {
    let rest = ''
    const decoder = new TextDecoder()
    for await (const chunk of stream) {
      const lines = (rest + decoder.decode(chunk, { stream: true })).split('\n')
      rest = lines.pop() ?? ''
      for (const line of lines) this.options.tell(`${name}: ${line}`)
    }
  }
}

function howOf({
  signalCode,
  exitCode,
}: {
  readonly signalCode: string | number | null
  readonly exitCode: number | null
}) {
  return signalCode ? `by ${signalCode}` : `with code ${exitCode}`
}

async function becomeReady(
  { name, url }: ClusterNode,
  child: { readonly exitCode: number | null; readonly signalCode: string | number | null },
) {
  const deadline = performance.now() + readyMsMax
  while (performance.now() < deadline) {
    if (child.exitCode !== null || child.signalCode !== null) throw new CommandError(`${name} could not be started.`)
    const answer = await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(2_000) }).catch(() => null)
    if (answer?.ok) return
    await Bun.sleep(20)
  }
  throw new CommandError(`${name} was not ready within ${readyMsMax / 1_000} seconds.`)
}

async function end(node: ClusterNode) {
  node.kill('SIGTERM')
  await node.exited
}
