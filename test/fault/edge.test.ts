import { Database } from 'bun:sqlite'
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from 'bun:test'
import { join } from 'node:path'
import { model } from '../../src/model/index.ts'
import { complaintsAbout, nothingWrong } from '../support/accounting.ts'
import { testEdge } from '../support/edge.ts'
import { type Relay, relay } from '../support/relay.ts'
import { type Replicated, replicated, until } from '../support/replicated.ts'
import { type Answer, call, testServer } from '../support/server.ts'
import { head, openWire } from '../support/socket.ts'
import { Wishes } from '../support/writers.ts'

setDefaultTimeout(60_000)

let world: Replicated
/** Between the edges and the primary. */
let wire: Relay
beforeAll(async () => {
  world = await replicated()
  wire = await relay(world.origin)
})
afterAll(async () => {
  await world.stop()
  wire.stop()
})

const edge = (dataDir?: string) => world.edge({ PRIMARY_ORIGIN: wire.origin }, dataDir)
const stored = async (name: string) => (await world.call('GET', `/tags?name=${name}`)).body.data.length
const create = (url: string, name: string): Promise<Answer> =>
  call(url, 'POST', '/tags', { key: world.key, body: { name }, headers: { 'Idempotency-Key': name } })
const post = (name: string, body: string) =>
  head(
    'POST /tags',
    `Authorization: Bearer ${world.key}`,
    'Content-Type: application/json',
    `Idempotency-Key: ${name}`,
    `Content-Length: ${body.length}`,
  )

describe('row 1: an edge that is killed', () => {
  let dataDir: string | undefined

  /** Kills an edge when `at` says so of what passes, while a client creates `name`; then asks another with the same key. */
  async function killed(name: string, at: 'unsent' | 'request' | 'answer'): Promise<Answer> {
    const victim = await edge(dataDir)
    dataDir = victim.dataDir
    const body = JSON.stringify({ name })
    const client = await openWire(victim.url)
    const killing = Promise.withResolvers<void>()
    const kill = () => killing.resolve(victim.end('SIGKILL').then(() => undefined))
    wire.onRequest = (bytes) => at === 'request' && bytes.includes(name) && kill()
    wire.onAnswer = (bytes) => {
      if (at !== 'answer' || !bytes.includes(name)) return
      wire.towards.edge = false
      kill()
    }
    client.send(post(name, body) + body.slice(0, at === 'unsent' ? 5 : undefined))
    if (at === 'unsent') kill()
    await killing.promise
    expect(await client.answer()).toBeNull()
    wire.towards.edge = true
    wire.onRequest = wire.onAnswer = () => undefined
    const next = await edge(dataDir)
    const answer = await create(next.url, name)
    await next.end('SIGKILL')
    return answer
  }

  test.each([
    ['before it sends a write on', 'unsent', [false]],
    ['after it has sent it on', 'request', [false, true]],
    ['after the commit, before it answers', 'answer', [true]],
  ] as const)('%s leaves it done once or not at all, and the key tells which', async (_, at, replayed) => {
    for (const round of [1, 2, 3]) {
      const name = `${at}-${round}`
      const answer = await killed(name, at)
      expect([answer.status, answer.body.name, await stored(name)]).toEqual([201, name, 1])
      expect(replayed.map(String)).toContain(String(answer.headers.get('idempotency-replayed') === 'true'))
    }
  })

  test('at random moments under 12 writers: lost 0, twice 0, ghost 0', async () => {
    const wishes = new Wishes(world.key)
    for (let round = 0; round < 6; round++) {
      const victim = await edge(dataDir)
      await wishes.sendAll(victim.url)
      const write = async () => {
        for (;;) {
          const name = `random-${wishes.all.length}`
          if (!(await wishes.send(victim.url, wishes.want('POST', '/tags', { name }, name)))) return
        }
      }
      const writing = Promise.all(Array.from({ length: 12 }, write))
      await Bun.sleep(30 + Math.random() * 150)
      await victim.end('SIGKILL')
      await writing
    }
    const last = await edge(dataDir)
    await wishes.sendAll(last.url)
    await wishes.sendAll(last.url, { again: true })
    await last.end('SIGTERM')
    expect(wishes.contradictions).toEqual([])
    expect(wishes.all.filter(({ answer }) => answer?.status !== 201)).toEqual([])
    const file = join(world.sqld.folder, 'dbs', 'default', 'data')
    using database = new Database(file, { readonly: true })
    const names = database.query<{ name: string }, []>(`select name from tags where name like 'random-%'`).all()
    expect(wishes.account(names.map(({ name }) => name))).toEqual(nothingWrong)
    expect(complaintsAbout(file, model)).toEqual([])
  })
})

test('an edge that gets no copy has the primary answer, and tells its numbers', async () => {
  const without = await world.edge({ LIBSQL_URL: 'http://127.0.0.1:1' })
  const made = await create(without.url, 'no-copy')
  const read = await without.call('GET', `/tags/${made.body.id}`)
  expect([read.status, read.text, read.headers.get('replica-age')]).toEqual([200, made.text, null])
  expect((await without.call('GET', '/readyz')).body.type).toBe('/problems/not-ready')
  expect((await without.call('GET', '/nowhere')).status).toBe(404)
  const lines = (await without.call('GET', '/metrics')).text.split('\n')
  expect(lines).toContain('perigee_edge_reads_forwarded_total{reason="no-copy"} 1')
  expect(lines.filter((line) => line.startsWith('perigee_log_position'))).toEqual([])
  await without.end('SIGTERM')
})

test('row 14: the same write 50 times at once over three edges is done once, and answered alike', async () => {
  const edges = await Promise.all([edge(), edge(), edge()])
  const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => create(edges[i % 3]?.url ?? '', 'fifty')))
  const replays = answers.filter(({ headers }) => headers.get('idempotency-replayed') === 'true')
  expect([answers.length - replays.length, await stored('fifty')]).toEqual([1, 1])
  expect(new Set(answers.map(({ status, text }) => `${status} ${text}`)).size).toBe(1)
  for (const each of edges) expect(await each.end('SIGTERM')).toBe(0)
})

test('row 18: a client that goes away takes nothing back, whenever it goes', async () => {
  const node = await edge()
  wire.delayMs = 40
  try {
    for (let step = 0; step <= 12; step++) {
      const name = `gone-${step}`
      const body = JSON.stringify({ name })
      const client = await openWire(node.url)
      client.send(post(name, body) + body)
      await Bun.sleep(10 * step)
      client.destroy()
      // From the second step on, the edge has had it for 10 ms at the least: it arrives, though nobody waits.
      if (step > 1)
        await until(
          async () => (await stored(name)) === 1,
          () => `${name} never arrives`,
        )
      const told = await create(node.url, name)
      expect([told.status, await stored(name)]).toEqual([201, 1])
    }
  } finally {
    wire.delayMs = 0
    expect(await node.end('SIGTERM')).toBe(0)
  }
})

test.each([
  ['ten minutes behind', -600_000],
  ['a day ahead', 86_400_000],
])('row 20: an edge whose clock is %s keeps the same promises', async (_, offset) => {
  const primary = await testServer()
  const odd = await testEdge(primary, { now: () => Date.now() + offset })
  for (const name of ['a', 'b', 'c']) await primary.call('POST', '/tags', { body: { name } })
  odd.replica.catchUp()
  const made = await odd.call('POST', '/tags', { body: { name: 'here' } })
  const headers = { 'Consistency-Token': made.headers.get('consistency-token') ?? '' }
  expect((await odd.call('GET', `/tags/${made.body.id}`, { headers })).text).toBe(made.text)
  expect((await primary.call('GET', '/tags', { headers })).status).toBe(200)
  odd.replica.catchUp()
  const read = await odd.call('GET', '/tags?limit=2', { headers })
  expect([read.status, read.headers.get('replica-age')]).toEqual([200, '0.000'])
  for (const [from, to] of [
    [odd, primary],
    [primary, odd],
  ] as const) {
    const page = await from.call('GET', '/tags?limit=2')
    expect((await to.call('GET', `/tags?limit=2&after=${page.body.next}`)).body.data.length).toBe(2)
  }
  expect(odd.faults).toEqual([])
  await odd.stop()
  await primary.stop()
})
