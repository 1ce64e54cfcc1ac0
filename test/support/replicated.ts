import { Database } from 'bun:sqlite'
import { mkdtempSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { libsqlStore } from '../../src/entry/libsql-store.ts'
import { type Owner, ownerOf } from './keys.ts'
import { type SpawnedServer, spawnServer } from './process.ts'
import { type Answer, type CallOptions, call, temporaryFolder } from './server.ts'
import { freePort, startSqld, type TestSqld } from './sqld.ts'

/** A sqld with a primary node on it, in processes of their own, for edges that a test starts. */
export interface Replicated {
  /** The data folder that sqld's folder is in. */
  readonly dataDir: string
  readonly sqld: TestSqld
  readonly key: string
  readonly owner: Owner
  /** Where the primary is, and stays. */
  readonly origin: string
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  /** An empty folder, which goes with everything else. */
  newFolder(): string
  /** With these settings beside its own. */
  startPrimary(env?: Readonly<Record<string, string>>): Promise<void>
  stopPrimary(): Promise<void>
  edge(env?: Readonly<Record<string, string>>, dataDir?: string): Promise<TestEdgeNode>
  /** Ends everything that still runs. */
  stop(): Promise<void>
}

/** What an edge of any kind says of itself. */
export interface SaysHealth {
  /** The body of `/readyz` once the node is ready. */
  ready(): Promise<Health>
  health(): Promise<Health>
  /** A number of its metrics, by its name with its labels. */
  metric(name: string): Promise<number>
}

export interface TestEdgeNode extends SpawnedServer, SaysHealth {
  readonly dataDir: string
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  /** Ids of its processes that run the file of `src/entry`. */
  processes(entry: 'replicator.ts' | 'edge-worker.ts'): number[]
  /** The numbers of its copies, and the file of the one. */
  copies(): number[]
  copyFile(copy: number): string
}

export interface Health {
  readonly epoch: string
  readonly position: number
  readonly replicator: { readonly phase: string; readonly restarts: number; readonly bootstraps: number }
  readonly detail?: string
}

export async function replicated(): Promise<Replicated> {
  const folder = temporaryFolder()
  const sqld = await startSqld({ folder: join(folder.path, 'sqld') })
  const store = libsqlStore({ url: sqld.url, token: sqld.token, folder: sqld.folder })
  await store.migrate()
  const owner = ownerOf(store)
  const key = await owner.key()
  const port = freePort()
  const origin = `http://127.0.0.1:${port}`
  const running = new Set<SpawnedServer>()
  let primary: SpawnedServer | undefined
  const env = { LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.token, LIBSQL_DIR: sqld.folder, PORT: String(port) }
  const asking =
    (url: string) =>
    (method: string, path: string, options: CallOptions = {}) =>
      call(url, method, path, { key, ...options })
  const self: Replicated = {
    dataDir: folder.path,
    sqld,
    key,
    owner,
    origin,
    call: asking(origin),
    newFolder: () => mkdtempSync(join(folder.path, 'part-')),
    async startPrimary(more = {}) {
      primary = await spawnServer({ dataDir: folder.path, env: { ...env, ...more } })
    },
    async stopPrimary() {
      await primary?.end('SIGTERM')
      primary = undefined
    },
    async edge(more = {}, dataDir = self.newFolder()) {
      const server = await spawnServer({
        dataDir,
        env: {
          ...{ LIBSQL_URL: sqld.url, LIBSQL_TOKEN: sqld.readOnlyToken, PRIMARY_ORIGIN: origin, REGION: 'edge' },
          ...more,
        },
      })
      running.add(server)
      return edgeNode(server, dataDir, asking(server.url))
    },
    async stop() {
      await Promise.all([...running].map((server) => server.end('SIGKILL')))
      await self.stopPrimary()
      await sqld.remove()
      folder.remove()
    },
  }
  await self.startPrimary()
  return self
}

function edgeNode(server: SpawnedServer, dataDir: string, ask: TestEdgeNode['call']): TestEdgeNode {
  const folder = join(dataDir, 'replica')
  return {
    ...server,
    dataDir,
    call: ask,
    ...healthOf(ask),
    processes: (entry) => childrenOf(server.pid, entry),
    copies: () => readdirSync(folder).map(Number).sort(),
    copyFile: (copy) => join(folder, String(copy), 'replica.db'),
  }
}

export function healthOf(ask: TestEdgeNode['call']): SaysHealth {
  const health = async () => (await ask('GET', '/readyz', { key: null })).body as Health
  return {
    health,
    async ready() {
      let last: Health | undefined
      const isReady = async () => {
        last = await health()
        return last.detail === undefined
      }
      await until(isReady, () => `the edge is not ready: ${last?.detail}`)
      return health()
    },
    async metric(name) {
      const { text } = await ask('GET', '/metrics', { key: null })
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(`${name} `))
          ?.slice(name.length + 1),
      )
    },
  }
}

/** Waits for a condition, ten seconds at most. */
export async function until(holds: () => boolean | Promise<boolean>, otherwise: () => string, ms = 10_000) {
  const deadline = performance.now() + ms
  while (!(await holds())) {
    if (performance.now() > deadline) throw new Error(otherwise())
    await Bun.sleep(5)
  }
}

/** The processes that a process has started on a file of `src/entry`. */
export function childrenOf(pid: number, entry: string): number[] {
  const { stdout } = Bun.spawnSync(['ps', '-eo', 'pid=,ppid=,args='])
  return stdout
    .toString()
    .split('\n')
    .filter((line) => line.includes(`src/entry/${entry}`))
    .map((line) => line.trim().split(/\s+/).map(Number))
    .filter(([, parent]) => parent === pid)
    .map(([child = 0]) => child)
}

/**
 * Reads a copy again and again while it is being written, and keeps what is wrong: tags come in pairs, in one commit
 * each, so an odd number of them is half a commit; positions only rise.
 */
export function watchCopy(file: string): { readonly reads: number; readonly wrong: readonly string[]; stop(): void } {
  const database = new Database(file, { readonly: true })
  const query = database.query('select (select count(*) from tags), (select coalesce(max(seq), 0) from changes)')
  const wrong: string[] = []
  let reads = 0
  let before = [0, 0]
  const read = () => {
    const now = query.values()[0] as number[]
    if (wrong.length > 10) return
    if (now[0]! % 2 !== 0) wrong.push(`half a commit: ${now}`)
    if (now[0]! < before[0]! || now[1]! < before[1]!) wrong.push(`backward: ${now} after ${before}`)
    before = now
    reads++
  }
  const timer = setInterval(() => {
    for (let i = 0; i < 20; i++) read()
  }, 1)
  return {
    get reads() {
      return reads
    },
    wrong,
    stop() {
      clearInterval(timer)
      database.close()
    },
  }
}

/** Writes pairs of tags, about a hundred a second, until it is stopped; answers how many were acknowledged. */
export function writePairs(ask: Replicated['call'], name: string): { stop(): Promise<number> } {
  let isStopping = false
  let written = 0
  const create = (n: number, i: number) => ({ do: 'create', resource: 'tags', body: { name: `${name}-${n} ${i}` } })
  const done = (async () => {
    for (let n = 0; !isStopping; n++) {
      const body = { commands: [create(n, 1), create(n, 2)] }
      const headers = { 'Idempotency-Key': `${name}-${n}` }
      const answer = await ask('POST', '/batch', { body, headers }).catch(() => null)
      if (answer?.status === 200) written++
      await Bun.sleep(5)
    }
  })()
  return {
    async stop() {
      isStopping = true
      await done
      return written
    },
  }
}
