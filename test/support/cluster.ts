import { existsSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { backUp, restore } from '../../src/entry/primary-folder.ts'
import { killSqldOn } from '../../src/entry/sqld.ts'
import { databaseIn, makeKey, primaryDatabase, type SpawnedPrimary, spawnPrimary } from './primary.ts'
import { type SpawnedServer, spawnServer } from './process.ts'
import { projectRoot } from './project.ts'
import { type Relay, relay } from './relay.ts'
import { childrenOf, type Health, until } from './replicated.ts'
import { temporaryFolder } from './server.ts'
import { freePort } from './sqld.ts'
import { startWorkerNode } from './worker-node.ts'

/** A primary with its sqld and edges around it, each behind links of its own, for tests that break any of them. */
export interface TestCluster {
  readonly primary: ClusterPrimary
  readonly edges: readonly ClusterEdge[]
  /** Edges that are Workers. */
  readonly workers: readonly LinkedNode[]
  /** A key of the tenant `demo` that may read and write. */
  readonly key: string
  /** Waits until every node is ready and every edge has all that the primary has. */
  converged(): Promise<void>
  stop(): Promise<void>
}

/** A node. It keeps its address and its folder when it is started again. */
export interface ClusterNode {
  readonly name: string
  readonly url: string
  readonly pid: number
  /** Of this project, or of the copy that is at `root`. */
  start(root?: string): Promise<void>
  /** The exit code, or null where a signal ended it. */
  end(signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null>
  /** How it has ended without having been told to, as sentences with what it complained of. */
  readonly ends: readonly string[]
}

/** A database of a primary: another one after each restore. */
export interface World {
  readonly epoch: string
  /** Where it is, also when it has been set aside. */
  readonly file: string
  /** The number of its last change that it was restored with; 0 of the first. */
  readonly base: number
}

export interface ClusterPrimary extends ClusterNode {
  /** What its sqld keeps. */
  readonly databaseFile: string
  /** Settings with which commands reach it. */
  readonly env: Readonly<Record<string, string>>
  /** Its databases, of which the last is what it has. */
  readonly worlds: readonly World[]
  /** Writes its database, as it is now, to a file. */
  backUp(file: string): void
  /** Ends it, puts a backup in the place of its database, which is set aside, and starts it again. */
  restore(backup: string): Promise<void>
  /** Removes the databases that were set aside. */
  forget(): void
  /** The process of its sqld; null while there is none. */
  sqldPid(): number | null
}

/** A node that reads from a copy. */
export interface LinkedNode extends ClusterNode {
  /** Between it and the primary, and the primary's database. */
  readonly links: { readonly primary: Relay; readonly database: Relay }
}

export interface ClusterEdge extends LinkedNode {
  /** Null while there is none. */
  replicatorPid(): number | null
  /** The file of its copy. */
  copyFile(): string
  /** Sets its clock off by so many seconds, within about one; where `lackingForClock` is null. */
  turnClock(seconds: number): void
}

const fakeClock = ['x86_64', 'aarch64']
  .map((machine) => `/usr/lib/${machine}-linux-gnu/faketime/libfaketimeMT.so.1`)
  .find((path) => existsSync(path))

/** What this machine lacks to turn the clock of one process. */
export const lackingForClock = fakeClock === undefined ? 'libfaketime' : null

/**
 * Starts a primary and edges by the project's own commands, and Workers, which the primary tells of its writes; resolves
 * when all of them are ready.
 */
export async function startCluster(
  names: readonly string[],
  workerNames: readonly string[] = [],
): Promise<TestCluster> {
  await using started = new AsyncDisposableStack()
  const folder = temporaryFolder()
  started.defer(folder.remove)
  const workerPorts = workerNames.map(() => freePort())
  const edgeOrigins = workerPorts.map((port) => `http://127.0.0.1:${port}`).join()
  const primary = await startPrimary(join(folder.path, 'primary'), edgeOrigins)
  started.defer(async () => {
    await primary.rest()
    await primary.end('SIGTERM')
    killSqldOn(primary.databaseFile)
  })
  const key = await makeKey(primary.env)
  const token = readFileSync(join(primary.env.DATA_DIR, 'replica-token'), 'utf8').trim()
  const linked = async <N extends LinkedNode & Resting>(starting: Promise<N>): Promise<N> => {
    const node = await starting
    started.defer(async () => {
      await node.rest()
      await node.end('SIGKILL')
      for (const link of [node.links.primary, node.links.database]) link.stop()
    })
    return node
  }
  const edges = await Promise.all(names.map((name) => linked(startEdge(name, join(folder.path, name), primary, token))))
  const workers = await Promise.all(
    workerNames.map((name, i) =>
      linked(startWorkerNode({ name, folder: join(folder.path, name), primary, token, port: workerPorts[i] ?? 0 })),
    ),
  )
  const converged = async () => {
    const ends = [primary, ...edges, ...workers].flatMap((node) => node.ends)
    if (ends.length > 0) throw new Error(ends.join('\n'))
    const { epoch, position } = await readiness(primary)
    for (const edge of [...edges, ...workers]) {
      let last: Health | null = null
      const isThere = async () => {
        last = await readiness(edge)
        return last.detail === undefined && last.epoch === epoch && last.position >= position
      }
      await until(isThere, () => `${edge.name} is not at ${epoch}.${position}: ${JSON.stringify(last)}`, 30_000)
    }
  }
  await converged()
  const running = started.move()
  return { primary, edges, workers, key, converged, stop: () => running.disposeAsync() }
}

async function readiness({ url }: ClusterNode): Promise<Health> {
  return (await (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) })).json()) as Health
}

/** What is told to a node before it is ended for good. */
interface Resting {
  /** It is not started again. */
  rest(): Promise<void>
}

/** A node whose process `spawn` starts; once it was told to `rest`, it is not started again. */
export async function nodeOf<S extends Pick<SpawnedServer, 'url' | 'pid' | 'exited' | 'complaints' | 'end'>>(
  name: string,
  spawn: (root?: string) => Promise<S>,
) {
  const ends: string[] = []
  let told: S | undefined
  const watched = async (root?: string) => {
    const server = await spawn(root)
    void server.exited.then((code) => {
      if (server !== told) ends.push(`${name} ended by itself with code ${code}: ${server.complaints()}`)
    })
    return server
  }
  let running = await watched()
  let starting: Promise<void> | undefined
  let isOver = false
  return {
    ...{ name, ends },
    url: running.url,
    get pid() {
      return running.pid
    },
    now: () => running,
    async start(root?: string) {
      if (isOver) return
      starting = watched(root).then((next) => {
        running = next
      })
      await starting
    },
    async end(signal: 'SIGKILL' | 'SIGTERM') {
      told = running
      return running.end(signal)
    },
    async rest() {
      isOver = true
      await starting?.catch(() => undefined) // Whoever starts it is told.
    },
  }
}

async function startPrimary(dataDir: string, edgeOrigins: string) {
  const env = {
    ...{ PORT: String(freePort()), LIBSQL_LISTEN: `127.0.0.1:${freePort()}` },
    ...(edgeOrigins && { EDGE_ORIGINS: edgeOrigins }),
  }
  const node = await nodeOf<SpawnedPrimary>('primary', (root = projectRoot) => spawnPrimary({ dataDir, env, root }))
  const worlds: World[] = [{ epoch: (await readiness(node)).epoch, file: primaryDatabase(dataDir), base: 0 }]
  const { end } = node
  const asides: string[] = []
  const primary = Object.assign(node, {
    worlds,
    backUp: (file: string) => void backUp(dataDir, file),
    async restore(backup: string) {
      await primary.end('SIGTERM')
      const { aside, epoch, seq } = await restore(dataDir, backup)
      const last = worlds.pop()
      if (!aside || !last) throw new Error('there was a database before')
      worlds.push({ ...last, file: databaseIn(aside) }, { epoch, file: primaryDatabase(dataDir), base: seq })
      asides.push(aside)
      await primary.start()
    },
    forget() {
      for (const aside of asides.splice(0)) rmSync(aside, { recursive: true })
      worlds.splice(0, worlds.length - 1)
    },
    env: node.now().env,
    databaseUrl: node.now().databaseUrl,
    databaseFile: primaryDatabase(dataDir),
    sqldPid: () => node.now().sqldPid(),
    async end(signal: 'SIGKILL' | 'SIGTERM') {
      const sqld = node.now().sqldPid()
      const code = await end(signal)
      // Where the primary was killed, its sqld ends later, at the latest when the next one starts.
      if (signal === 'SIGTERM' && sqld && existsSync(`/proc/${sqld}`)) throw new Error('sqld outlives its primary')
      return code
    },
  })
  return primary
}

export async function linksTo(primary: {
  readonly url: string
  readonly databaseUrl: string
}): Promise<LinkedNode['links']> {
  return { primary: await relay(primary.url), database: await relay(primary.databaseUrl) }
}

async function startEdge(
  name: string,
  dataDir: string,
  primary: { readonly url: string; readonly databaseUrl: string },
  token: string,
): Promise<ClusterEdge & Resting> {
  const links = await linksTo(primary)
  const clockFile = `${dataDir}.clock`
  const env = {
    ...{ PORT: String(freePort()), REGION: name, LIBSQL_TOKEN: token },
    ...{ PRIMARY_ORIGIN: links.primary.origin, LIBSQL_URL: links.database.origin },
    ...(fakeClock && {
      ...{ LD_PRELOAD: fakeClock, FAKETIME_TIMESTAMP_FILE: clockFile },
      ...{ FAKETIME_NO_CACHE: '1', DONT_FAKE_MONOTONIC: '1' },
    }),
  }
  const turnClock = (seconds: number) => writeFileSync(clockFile, `${seconds < 0 ? '' : '+'}${seconds}`)
  turnClock(0)
  const node = await nodeOf(name, (root = projectRoot) => spawnServer({ dataDir, env, root }))
  return Object.assign(node, {
    ...{ links, turnClock },
    replicatorPid: () => childrenOf(node.pid, 'replicator.ts')[0] ?? null,
    copyFile() {
      const copies = readdirSync(join(dataDir, 'replica')).map(Number)
      return join(dataDir, 'replica', String(Math.max(...copies)), 'replica.db')
    },
  })
}
