import { Database } from 'bun:sqlite'
import { join } from 'node:path'
import { UpstashLink } from '../../src/cache/upstash-link.ts'
import { upstashCaches } from '../../src/cache/upstash-redis.ts'
import { SharedAnswers } from '../../src/http/shared-answers.ts'
import { type TestEdge, testEdge } from './edge.ts'
import { type TestServer, testServer } from './server.ts'
import { startSqld } from './sqld.ts'
import { startRedis, type TestRedis } from './upstash.ts'

/** A primary that reads its sqld over HTTP, and edges without a copy, which share what they read through one Redis. */
export interface SharedWorld {
  readonly redis: TestRedis
  readonly primary: TestServer
  readonly edges: readonly SharedEdge[]
  /** The log itself, to check answers against. */
  readonly log: Database
  /** A value of the primary's `/metrics`, by the beginning of its line. */
  metric(name: string): Promise<number>
  stop(): Promise<void>
}

export interface SharedEdge extends TestEdge {
  readonly shared: SharedAnswers
}

const elapsed = () => performance.now()

export async function sharedWorld(edgeCount: number): Promise<SharedWorld> {
  const redis = await startRedis()
  const sqld = await startSqld()
  const { url, token } = redis
  const server = await testServer({ libsql: { url: sqld.url, token: sqld.token, folder: null }, redis: { url, token } })
  const primary: TestServer = { ...server, databaseFile: join(sqld.folder, 'dbs', 'default', 'data') }
  const edges: SharedEdge[] = []
  for (let i = 0; i < edgeCount; i++) {
    const link = new UpstashLink({ url, token, answerMsMax: 40, elapsed })
    const caches = upstashCaches(link, 600_000)
    const shared = new SharedAnswers({ caches, region: 'edge', ageMsMax: 60_000, elapsed })
    const edge = await testEdge(primary, { shared })
    // It has no copy by now, and knows of the primary what that told it.
    edge.replica.claim({ position: null, unready: 'There is no copy yet.' })
    edges.push({ ...edge, shared })
  }
  const log = new Database(primary.databaseFile, { readonly: true })
  return {
    ...{ redis, primary, edges, log },
    async metric(name) {
      const { text } = await primary.call('GET', '/metrics')
      return Number(
        text
          .split('\n')
          .find((line) => line.startsWith(name))
          ?.split(' ')
          .at(-1),
      )
    },
    async stop() {
      log.close()
      for (const edge of edges) await edge.stop()
      await primary.stop()
      await sqld.remove()
      await redis.remove()
    },
  }
}
