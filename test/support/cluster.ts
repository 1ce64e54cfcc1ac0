import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { makeKey, primaryDatabase, type SpawnedPrimary, spawnPrimary } from './primary.ts'
import { type SpawnedServer, spawnServer } from './process.ts'
import { projectRoot } from './project.ts'
import { type Relay, relay } from './relay.ts'
import { childrenOf, type Health, until } from './replicated.ts'
import { temporaryFolder } from './server.ts'
import { freePort } from './sqld.ts'

/** A primary with its sqld and edges around it, each behind links of its own, for tests that break any of them. */
export interface TestCluster {
  readonly primary: ClusterPrimary
  readonly edges: readonly ClusterEdge[]
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
}

export interface ClusterPrimary extends ClusterNode {
  /** What its sqld keeps. */
  readonly databaseFile: string
  /** Settings with which commands reach it. */
  readonly env: Readonly<Record<string, string>>
  /** The process of its sqld; null while there is none. */
  sqldPid(): number | null
}

export interface ClusterEdge extends ClusterNode {
  /** Between it and the primary, and the primary's database. */
  readonly links: { readonly primary: Relay; readonly database: Relay }
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

/** Starts a primary and edges by the project's own commands; resolves when all of them are ready. */
export async function startCluster(names: readonly string[]): Promise<TestCluster> {
  const folder = temporaryFolder()
  const primary = await startPrimary(join(folder.path, 'primary'))
  const key = await makeKey(primary.env)
  const token = readFileSync(join(primary.env.DATA_DIR, 'replica-token'), 'utf8').trim()
  const edges = await Promise.all(names.map((name) => startEdge(name, join(folder.path, name), primary, token)))
  const cluster = {
    ...{ primary, edges, key },
    async converged() {
      const { epoch, position } = await readiness(primary)
      for (const edge of edges) {
        let last: Health | null = null
        const isThere = async () => {
          last = await readiness(edge)
          return last.detail === undefined && last.epoch === epoch && last.position >= position
        }
        await until(isThere, () => `${edge.name} is not at ${epoch}.${position}: ${JSON.stringify(last)}`, 30_000)
      }
    },
    async stop() {
      await Promise.all(edges.map((edge) => edge.end('SIGKILL')))
      for (const { links } of edges) for (const link of [links.primary, links.database]) link.stop()
      await primary.end('SIGTERM')
      folder.remove()
    },
  }
  await cluster.converged()
  return cluster
}

async function readiness({ url }: ClusterNode): Promise<Health> {
  return (await (await fetch(`${url}/readyz`, { signal: AbortSignal.timeout(5_000) })).json()) as Health
}

/** A node whose process `spawn` starts. */
async function nodeOf<S extends SpawnedServer>(name: string, spawn: (root?: string) => Promise<S>) {
  let running = await spawn()
  return {
    name,
    url: running.url,
    get pid() {
      return running.pid
    },
    now: () => running,
    async start(root?: string) {
      running = await spawn(root)
    },
    end: (signal: 'SIGKILL' | 'SIGTERM') => running.end(signal),
  }
}

async function startPrimary(dataDir: string) {
  const env = { PORT: String(freePort()), LIBSQL_LISTEN: `127.0.0.1:${freePort()}` }
  const node = await nodeOf<SpawnedPrimary>('primary', (root = projectRoot) => spawnPrimary({ dataDir, env, root }))
  return Object.assign(node, {
    env: node.now().env,
    databaseUrl: node.now().databaseUrl,
    databaseFile: primaryDatabase(dataDir),
    sqldPid: () => node.now().sqldPid(),
    async end(signal: 'SIGKILL' | 'SIGTERM') {
      const sqld = node.now().sqldPid()
      const code = await node.now().end(signal)
      // Where the primary was killed, its sqld ends a moment later.
      await until(
        () => sqld === null || !existsSync(`/proc/${sqld}`),
        () => 'sqld outlives its primary',
      )
      return code
    },
  })
}

async function startEdge(
  name: string,
  dataDir: string,
  primary: { readonly url: string; readonly databaseUrl: string },
  token: string,
): Promise<ClusterEdge> {
  const links = { primary: await relay(primary.url), database: await relay(primary.databaseUrl) }
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
