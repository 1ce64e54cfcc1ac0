import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { digest } from '../../src/entry/node-identity.ts'
import { openApi } from '../../src/entry/open-api.ts'

import { createApp } from '../../src/http/app.ts'
import { createEdge } from '../../src/http/edge.ts'
import { Link, watchPrimary } from '../../src/http/forward.ts'
import { Metrics } from '../../src/http/metrics.ts'
import { NodeWire } from '../../src/http/node-wire.ts'
import type { AppOptions } from '../../src/http/service.ts'
import type { SharedAnswers } from '../../src/http/shared-answers.ts'
import { createTokenSealer, type Epoch, isAtLeast, type Position, type Seq } from '../../src/log/position.ts'
import { model } from '../../src/model/index.ts'
import type { TenantId } from '../../src/schema/access.ts'
import { bunSqlite } from '../../src/store/bun-sqlite.ts'
import { openReader } from '../../src/store/file-reader.ts'
import type { Replica, ReplicaState } from '../../src/store/replica.ts'
import { type Answer, type CallOptions, call, type TestServer, temporaryFolder } from './server.ts'
import { noTargets } from './targets.ts'

/** A copy of a primary's database in a file of its own, which comes forward when the test says so, in one transaction. */
export interface SteppedReplica extends Replica {
  readonly file: string
  /** Brings everything that the primary has. */
  catchUp(): void
  /** Says another thing of the copy, such as its age. */
  claim(state: Partial<ReplicaState>): void
  readonly nudges: number
  /** Whether it waits for a position that it has not, or says at once that the time is over. */
  patient: boolean
  close(): void
}

export function steppedReplica(primaryFile: string, folder: string): SteppedReplica {
  const file = join(folder, 'replica.db')
  const source = new Database(primaryFile)
  source.run('VACUUM INTO ?', [file])
  source.close()
  const copy = new Database(file)
  copy.run('PRAGMA journal_mode = WAL')
  const schema = copy.query<{ type: string; name: string }, []>(
    `select type, name from sqlite_schema where name not like 'sqlite_%'`,
  )
  const all = schema.all()
  for (const { name } of all.filter(({ type }) => type === 'trigger')) copy.run(`drop trigger "${name}"`)
  const tables = all.filter(({ type }) => type === 'table').map(({ name }) => name)
  const where = copy.query<[string, number], []>(
    `select (select value from meta where name = 'epoch'), (select coalesce(max(seq), 0) from changes)`,
  )
  copy.run('ATTACH ? AS source', [primaryFile])
  const bring = copy.transaction(() => {
    for (const table of tables) {
      copy.run(`delete from main."${table}"`)
      copy.run(`insert into main."${table}" select * from source."${table}"`)
    }
  })
  const positionNow = (): Position => {
    const [epoch, seq] = where.values()[0] as [string, number]
    return { epoch: epoch as Epoch, seq: seq as Seq }
  }
  let position = positionNow()
  let nudges = 0
  let claimed: Partial<ReplicaState> = {}
  const waiting = new Set<() => void>()
  const replica: SteppedReplica = {
    patient: true,
    file,
    get nudges() {
      return nudges
    },
    state: () => ({
      file,
      position,
      ageMs: 0,
      unready: null,
      phase: 'following',
      restarts: 0,
      bootstraps: 1,
      ...claimed,
    }),
    nudge: () => void nudges++,
    async reached(wanted, ms) {
      const deadline = performance.now() + (replica.patient ? ms : 0)
      while (!isAtLeast(position, wanted)) {
        const left = deadline - performance.now()
        if (left <= 0) return false
        const { promise, resolve } = Promise.withResolvers<void>()
        const timer = setTimeout(resolve, left)
        waiting.add(resolve)
        await promise
        waiting.delete(resolve)
        clearTimeout(timer)
      }
      return true
    },
    catchUp() {
      bring()
      position = positionNow()
      for (const go of waiting) go()
    },
    claim(state) {
      claimed = state
    },
    close: () => copy.close(),
  }
  return replica
}

/** An edge on a port of its own, over a copy of a primary's data. */
export interface TestEdge {
  readonly url: string
  readonly replica: SteppedReplica
  /** What `onFault` was told: faults of ours, of which there must be none. */
  readonly faults: unknown[]
  call(method: string, path: string, options?: CallOptions): Promise<Answer>
  stop(): Promise<void>
}

export interface TestEdgeOptions {
  /** Where it thinks that the primary is. */
  readonly origin?: string
  readonly lagMsMax?: number
  readonly answerMsMax?: number
  readonly now?: () => number
  readonly allowedOrigins?: readonly string[]
  /** What it shares with other nodes. */
  readonly shared?: SharedAnswers
}

export async function testEdge(primary: TestServer, options: TestEdgeOptions = {}): Promise<TestEdge> {
  const { origin = primary.url, lagMsMax = 60_000, answerMsMax = 10_000, now = Date.now, allowedOrigins = [] } = options
  const sharing = options.shared && { shared: options.shared }
  const defaultKey = await primary.key() // Before the copy is made, so that the copy has it.
  const folder = temporaryFolder()
  const replica = steppedReplica(primary.databaseFile, folder.path)
  const reader = openReader(replica.file, bunSqlite)
  const elapsed = () => performance.now()
  const link = new Link(new NodeWire({ origin, elapsed }), elapsed)
  const edge = createEdge({ link, region: 'edge', replica, lagMsMax, answerMsMax, ...sharing })
  const watch = watchPrimary(link, edge.learn)
  const faults: unknown[] = []
  const { epoch, sign, newId } = primary.node
  const appOptions: AppOptions = {
    ...{ model, reader, primary: null, epoch, sign, digest, newId, now, elapsed },
    sealer: createTokenSealer(sign),
    metrics: new Metrics(elapsed),
    through: edge,
    publicTenant: 'demo' as TenantId,
    allowedOrigins: new Set(allowedOrigins),
    targets: noTargets,
    region: 'edge',
    unready: () => replica.state().unready,
    openApi,
    docsScript: async () => new Response(''),
    onFault: (error) => void faults.push(error),
  }
  const app = createApp(appOptions)
  const server = Bun.serve({
    port: 0,
    hostname: '127.0.0.1',
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    fetch: app.fetch,
  })
  const url = `http://127.0.0.1:${server.port}`
  return {
    url,
    replica,
    faults,
    call: (method, path, { key = defaultKey, ...rest } = {}) => call(url, method, path, { ...rest, key }),
    async stop() {
      watch.stop()
      link.close()
      await server.stop(true)
      reader.close()
      replica.close()
      folder.remove()
    },
  }
}
