/** `bun run bench:worker`: the Worker edge in workerd, as it reads its copy. bench/README.md explains it. */
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { relay } from '../test/support/relay.ts'
import { type Replicated, replicated, until } from '../test/support/replicated.ts'
import { call } from '../test/support/server.ts'
import { bundle } from '../test/support/worker.ts'
import { report, runBench } from './command.ts'
import { BenchError } from './edge-jobs.ts'
import { spreadOf } from './edge-table.ts'
import { type Cores, chooseCores, tellOfOthers } from './machine.ts'
import { figureOf, measureRates, type RateOptions, ratioOf } from './rates.ts'
import type { BenchServer } from './server.ts'
import { type Cells, decimal, printTable } from './table.ts'
import { type Program, startWorkerd } from './workerd.ts'

const usage = `bun run bench:worker [--quick]
Reads at the Worker edge, in workerd by itself and without KV: from the copy in its Durable Object, beside a Worker and a
Durable Object that answer one text, and beside the same Worker reading from libSQL over HTTP that is 80 ms away. Prints
one table. Takes about 2 minutes, with --quick about 1. It needs wrk.`

const roundTripMs = 80
/** So many, and so long, that a copy keeps no answer until it is asked for again. */
const posts = 8_000
const bodyChars = 1_500
const batchPosts = 100

async function main(isQuick: boolean) {
  if (!Bun.which('wrk')) throw new BenchError('wrk is missing')
  await tellOfOthers(report)
  const cores = chooseCores(report)
  const folder = mkdtempSync(join(tmpdir(), 'perigee-bench-worker-'))
  report('A primary is filled.')
  const primary = await replicated()
  const idsFile = join(folder, 'ids')
  writeFileSync(idsFile, (await fill(primary)).join('\n'))
  const far = await relay(primary.sqld.url)
  const servers: BenchServer[] = []
  try {
    report('Workers are started, and one makes its copy.')
    const worker = await startAll(primary, far.origin, folder, cores, servers)
    const options = { cores, rounds: isQuick ? 1 : 3, seconds: isQuick ? 2 : 5, warmSeconds: 2, connections: 64 }
    const lines = await measure({ servers, worker, idsFile, key: primary.key, options, far })
    printTable(['case', 'server', 'rate/s', 'CPU us/request', 'p50 ms', 'p99 ms', 'compared'], [2, 5], lines)
  } finally {
    for (const server of servers) await server.stop()
    far.stop()
    await primary.stop()
    rmSync(folder, { recursive: true })
  }
  await tellOfOthers(report)
}

/** Answers the ids of published posts, each by one of as many authors as there are batches. */
async function fill(primary: Replicated): Promise<string[]> {
  const ids: string[] = []
  for (let batch = 0; batch < posts / batchPosts; batch++) {
    const author = {
      do: 'create',
      resource: 'users',
      as: 'author',
      body: { handle: `author-${batch}`, name: 'Author' },
    }
    const post = (i: number) => ({
      do: 'create',
      resource: 'posts',
      body: {
        ...{ authorId: { $ref: 'author' }, slug: `post-${batch}-${i}`, title: 'A post', status: 'published' },
        body: 'x'.repeat(bodyChars),
      },
    })
    const commands = [author, ...Array.from({ length: batchPosts - 1 }, (_, i) => post(i))]
    const { status, body } = await primary.call('POST', '/batch', { body: { commands } })
    if (status !== 200) throw new Error(`posts were not made: ${JSON.stringify(body)}`)
    ids.push(...body.results.slice(1).map(({ record }: { record: { id: string } }) => record.id))
  }
  return ids
}

/** Starts every server, tells `servers` of them, and answers Perigee's once it has its copy. */
async function startAll(primary: Replicated, database: string, folder: string, cores: Cores, servers: BenchServer[]) {
  const { file } = await bundle()
  const baselines = join(import.meta.dir, 'baselines')
  // Without an origin it reads what must be the newest, and writes, over HTTP at the database.
  const env = { LIBSQL_URL: database, LIBSQL_TOKEN: primary.sqld.token, PUBLIC_TENANT: 'demo', REGION: 'edge' }
  const programs: Program[] = [
    { name: 'constant-worker', file: join(baselines, 'constant-worker.js'), object: null, env: {} },
    { name: 'constant-object', file: join(baselines, 'constant-object.js'), object: 'ConstantObject', env: {} },
    { name: 'perigee', file, object: 'ReplicaObject', env },
  ]
  for (const program of programs) {
    const own = join(folder, program.name)
    mkdirSync(own)
    const module = join(own, 'program.js')
    copyFileSync(program.file, module)
    servers.push(await startWorkerd({ ...program, file: module }, own, cores.server))
  }
  const worker = servers.at(-1)
  if (!worker) throw new Error('Perigee was started')
  const isReady = async () => (await call(worker.url, 'GET', '/readyz')).status === 200
  await until(isReady, () => 'the Worker has no copy', 60_000)
  return worker
}

interface Bench {
  readonly servers: readonly BenchServer[]
  readonly worker: BenchServer
  readonly idsFile: string
  readonly key: string
  readonly options: RateOptions
  readonly far: { delayMs: number }
}

interface Case {
  readonly title: string
  readonly path: string
  readonly headers: readonly string[]
}

async function measure({ servers, worker, idsFile, key, options, far }: Bench): Promise<Cells[]> {
  const [id = ''] = (await Bun.file(idsFile).text()).split('\n')
  const authorized = `Authorization: Bearer ${key}`
  const cases: Case[] = [
    { title: 'one record from the copy, without a key', path: '/posts/LINE', headers: [] },
    { title: 'one record from the copy, with a key', path: '/posts/LINE', headers: [authorized] },
    // Each of another page, so that none is kept.
    {
      title: '20 records with their authors',
      path: '/posts?limit=20&include=author&id[gte]=LINE',
      headers: [authorized],
    },
  ]
  const lines: Cells[] = []
  for (const { title, path, headers } of cases) {
    report(`${title} ...`)
    const samples = await measureRates(servers, () => ['get.lua', path, idsFile, '', ...headers], options)
    for (const { name, url } of servers) {
      const { p50, p99 } = spreadOf(await latencies(url + path.replace('LINE', id), headers, 300))
      const compared =
        name !== 'perigee'
          ? ''
          : `${decimal(ratioOf(samples, name, 'constant-object', 'cpuMicros'), 2)} x the CPU of constant-object, ${decimal(ratioOf(samples, name, 'constant-worker', 'cpuMicros'), 2)} x of constant-worker`
      const [rate, cpu] = [figureOf(samples, name, 'perSecond'), figureOf(samples, name, 'cpuMicros')]
      lines.push([title, name, decimal(rate, 0), decimal(cpu, 1), decimal(p50, 2), decimal(p99, 2), compared])
    }
  }
  report('the same from libSQL over HTTP ...')
  far.delayMs = roundTripMs / 2
  const headers = [authorized, 'Consistency: strong']
  // As many as are read at once: more would wait for these.
  const few = { ...options, connections: 3 }
  const remote = await measureRates([worker], () => ['get.lua', '/posts/LINE', idsFile, '', ...headers], few)
  const { p50, p99 } = spreadOf(await latencies(`${worker.url}/posts/${id}`, headers, 30))
  const figures = (['perSecond', 'cpuMicros'] as const).map((figure) => figureOf(remote, 'perigee', figure))
  lines.push([
    `one record from libSQL over HTTP, ${roundTripMs} ms away`,
    'perigee',
    ...figures.map((figure, i) => decimal(figure, i)),
    ...[decimal(p50, 2), decimal(p99, 2), ''],
  ])
  far.delayMs = 0
  return lines
}

/** How long reads take, one after the other, in milliseconds. */
async function latencies(url: string, headers: readonly string[], reads: number): Promise<number[]> {
  const ms: number[] = []
  for (let i = 0; i < reads; i++) {
    const start = performance.now()
    const response = await fetch(url, { headers: headers.map((each) => each.split(': ') as [string, string]) })
    await response.arrayBuffer()
    ms.push(performance.now() - start)
  }
  return ms
}

await runBench(usage, main)
