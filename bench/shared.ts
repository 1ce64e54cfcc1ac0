/** `bun run bench:shared`: reads of a database that is far away, with what nodes share in Redis and without. */
import { relay } from '../test/support/relay.ts'
import { type TestServer, testServer } from '../test/support/server.ts'
import { startSqld } from '../test/support/sqld.ts'
import { hasRedis, startRedis } from '../test/support/upstash.ts'
import { runBench } from './command.ts'
import { spreadOf } from './edge-table.ts'
import { type Cells, decimal, printTable } from './table.ts'

const usage = `bun run bench:shared [--quick]
Reads that follow Zipf's law, beside writes, at a node whose database is 20 ms away: with what nodes share in a Redis beside
it, and without. Prints one table. Takes about a minute. It needs redis-server.`

const roundTripMs = 20
const records = 1_000
const readers = 16
const writesPerSecond = 5

/** Numbers from 0 on, each half as often as the one of half its rank: Zipf's law with the exponent 1. The same in every run. */
function zipf(count: number): () => number {
  const sums: number[] = []
  for (let rank = 1; rank <= count; rank++) sums.push((sums.at(-1) ?? 0) + 1 / rank)
  const total = sums.at(-1) ?? 1
  let seed = 42
  return () => {
    seed = (seed * 48_271) % 2_147_483_647
    const at = (seed / 2_147_483_647) * total
    return sums.findIndex((sum) => sum >= at)
  }
}

interface Measured {
  readonly ms: number[]
  readonly hits: number
  readonly statements: number
  readonly seconds: number
}

async function measure(
  server: TestServer,
  ids: readonly string[],
  reads: number,
  asked: () => number,
): Promise<Measured> {
  const pick = zipf(ids.length)
  const ms: number[] = []
  let left = reads
  let hits = 0
  const before = asked()
  const begun = performance.now()
  const writes: Promise<unknown>[] = []
  const write = setInterval(() => {
    writes.push(server.call('PATCH', `/tags/${ids[pick()]}`, { body: { name: Bun.randomUUIDv7() } }))
  }, 1_000 / writesPerSecond)
  const reader = async () => {
    while (left-- > 0) {
      const rank = pick()
      // One read of ten is of a list.
      const path = rank % 10 === 9 ? `/tags?limit=${(rank % 100) + 1}` : `/tags/${ids[rank]}`
      const start = performance.now()
      const { status, headers } = await server.call('GET', path, { key: null })
      ms.push(performance.now() - start)
      if (status !== 200) throw new Error(`${path} was answered ${status}`)
      if (headers.get('cache-status')?.includes('; hit')) hits++
    }
  }
  await Promise.all(Array.from({ length: readers }, reader))
  const seconds = (performance.now() - begun) / 1_000
  clearInterval(write)
  await Promise.all(writes)
  return { ms, hits, statements: asked() - before, seconds }
}

async function main(isQuick: boolean) {
  if (!hasRedis) throw new Error('redis-server is missing')
  const reads = isQuick ? 1_000 : 3_000
  const [redis, sqld] = [await startRedis(), await startSqld({ auth: false })]
  const way = await relay(sqld.url)
  const libsql = { url: way.origin, token: null, folder: null }
  let asked = 0
  way.onRequest = (bytes) => {
    if (bytes.includes('POST ')) asked++
  }
  const lines: Cells[] = []
  const ids: string[] = []
  for (const isShared of [false, true]) {
    way.delayMs = 0
    const server = await testServer({ libsql, redis: isShared ? { url: redis.url, token: redis.token } : null })
    for (let i = ids.length; i < records; i++)
      ids.push((await server.call('POST', '/tags', { body: { name: `tag ${i}` } })).body.id)
    way.delayMs = roundTripMs / 2
    const { ms, hits, statements, seconds } = await measure(server, ids, reads, () => asked)
    const { p50, p99 } = spreadOf(ms)
    lines.push([
      isShared ? 'shared in Redis' : 'nothing shared',
      `${((100 * hits) / reads).toFixed(1)} %`,
      decimal(statements / reads, 2),
      decimal(p50, 2),
      decimal(p99, 2),
      (reads / seconds).toFixed(0),
    ])
    way.delayMs = 0
    await server.stop()
  }
  printTable(['case', 'hits', 'requests to the database per read', 'p50 ms', 'p99 ms', 'reads/s'], [1, 5], lines)
  way.stop()
  await sqld.remove()
  await redis.remove()
}

await runBench(usage, main)
